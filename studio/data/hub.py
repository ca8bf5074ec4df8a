"""A data set by its id on a model hub: its plain files are fetched, nothing of it is run.

Written to the hub's public HTTP interface: one request for the list of files, one for each file.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from studio.core.errors import DataError
from studio.data.limits import MIB, Limits
from studio.data.readers.table import Source, Tick

_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz", ".json.gz", ".csv.gz", ".arrow", ".txt")
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_NO_DATA = frozenset({"dataset_infos.json", "config.json", "dataset_dict.json", "state.json", "dataset_info.json"})
_HELD_BACK = re.compile(r"(^|[/_.-])(test|validation|valid|val|dev|eval)([/_.-]|$)", re.IGNORECASE)
_TRAINING = re.compile(r"(^|[/_.-])train(ing)?([/_.-]|$)", re.IGNORECASE)
_SECONDS = 30.0
_MOST_REDIRECTS = 5


def fetch(hub_url: str, dataset_id: str, folder: Path, limits: Limits, tick: Tick) -> list[Source]:
    """The data set's training files, in `folder`. Raises DataError, in words, before more than `limits` is fetched."""
    name = dataset_id.strip().removeprefix(f"{hub_url}/datasets/").strip("/")
    if not _ID.fullmatch(name):
        raise DataError(f"“{dataset_id.strip()[:80]}” is no data set's id.", "It looks like owner/name.")
    try:
        with httpx.Client(timeout=_SECONDS, headers={"User-Agent": "adapter-studio"}) as client:
            files, commit = _listed(client, hub_url, name)
            chosen = _training_files(files, name)
            total = sum(files[path] for path in chosen)
            if total > limits.archive_mib * MIB or len(chosen) > limits.archive_files:
                raise DataError(
                    f"{name} is too large: {len(chosen):,} files of {total / MIB:,.0f} MiB together.",
                    "Download the part you need and choose that file, or raise STUDIO_MAX_ARCHIVE_MIB.",
                )
            sources, done = [], 0
            for place, path in enumerate(chosen):
                address = f"{hub_url}/datasets/{name}/resolve/{commit}/{quote(path)}"
                source = Source(folder / str(place), path.replace("/", "_"))
                done += _download(client, address, source, limits.archive_mib * MIB - done)
                tick(min(1.0, done / max(1, total)))
                sources.append(source)
            return sources
    except httpx.HTTPError as error:
        raise DataError(
            f"{name} could not be fetched from {urlsplit(hub_url).netloc} ({type(error).__name__}).",
            "Check the connection; or download its file elsewhere and choose it here.",
        ) from None


def _listed(client: httpx.Client, hub_url: str, name: str) -> tuple[dict[str, int], str]:
    """(files with their sizes in bytes, the commit they are of)."""
    answer = client.get(f"{hub_url}/api/datasets/{name}", params={"blobs": "true"}, follow_redirects=False)
    if answer.status_code in {401, 403}:
        raise DataError(
            f"{name} is private, must be asked for, or does not exist.",
            "Download its file with your own account and choose it here.",
        )
    if answer.status_code != 200:
        raise DataError(
            f"{name} was not found on {urlsplit(hub_url).netloc}.", "Check its id; it looks like owner/name."
        )
    try:
        told: dict[str, Any] = answer.json()
        return {str(f["rfilename"]): int(f.get("size") or 0) for f in told["siblings"]}, str(told.get("sha") or "main")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"What {urlsplit(hub_url).netloc} says of {name} makes no sense.", "Try again later.") from None


def _training_files(files: Iterable[str], name: str) -> list[str]:
    """Of the data files those to learn from, all of one kind and, where there are several configurations, of one."""
    files = list(files)
    data = [
        path for path in files
        if path.lower().endswith(_SUFFIXES) and Path(path).name not in _NO_DATA and not path.startswith(".")
    ]  # fmt: skip
    data = [path for path in data if not path.endswith(".txt")] or data
    if not data:
        if any(path.endswith(".py") for path in files):
            raise DataError(
                f"{name} needs code to run; we don't run code from the internet.",
                "Choose another data set, or its files.",
            )
        raise DataError(f"{name} holds no file the studio can read.", "Choose another data set.")
    training = [path for path in data if _TRAINING.search(path)]
    chosen = training or [path for path in data if not _HELD_BACK.search(path)] or data
    kind, folder = Path(chosen[0]).suffix, Path(chosen[0]).parent
    return sorted(path for path in chosen if Path(path).suffix == kind and Path(path).parent == folder)


def _download(client: httpx.Client, address: str, source: Source, most_bytes: int) -> int:
    """Bytes written. Redirects, to where the hub keeps big files, may not lead from https to http."""
    secure = urlsplit(address).scheme == "https"
    for _ in range(_MOST_REDIRECTS):
        with client.stream("GET", address, follow_redirects=False) as answer:
            if answer.is_redirect:
                address = str(answer.next_request.url) if answer.next_request else address
                if secure and urlsplit(address).scheme != "https":
                    break
                continue
            if answer.status_code != 200:
                raise DataError(
                    f"{source.name} could not be fetched: the hub answers {answer.status_code}.", "Try again later."
                )
            written = 0
            with source.path.open("wb") as file:
                for block in answer.iter_bytes(MIB):
                    written += len(block)
                    if written > most_bytes:
                        raise DataError(f"{source.name} is larger than the hub said.", "Choose another data set.")
                    file.write(block)
            return written
    raise DataError(f"{source.name} could not be fetched: the hub sends us in circles.", "Try again later.")
