"""The data sets that are kept: list them, name them, delete them, notice a file that was here before."""

import re
import unicodedata
from dataclasses import dataclass

from studio.core.errors import NotFound, StudioError
from studio.services import storage
from studio.services.context import Studio
from studio.services.storage import Kind
from studio.store import datasets
from studio.store.examples import Version
from studio.store.tables import Dataset, Run

NAME_CHARS = 80


@dataclass(frozen=True)
class Kept:
    dataset: Dataset
    newest: Version
    size_bytes: int
    runs: list[Run]  # that use it, the newest first


def every(studio: Studio) -> list[Kept]:
    """The newest first."""
    return [_kept(studio, dataset) for dataset in datasets.every(studio.db)]


def get(studio: Studio, dataset_id: int) -> Kept:
    """Raises NotFound."""
    return _kept(studio, datasets.get(studio.db, dataset_id))


def rename(studio: Studio, dataset_id: int, name: str) -> None:
    datasets.get(studio.db, dataset_id)
    wanted = " ".join(name.split())[:NAME_CHARS]
    if not wanted:
        raise StudioError("A data set needs a name.", "Type at least one letter.")
    datasets.rename(studio.db, dataset_id, wanted)


def delete(studio: Studio, dataset_id: int) -> None:
    """Raises StudioError, naming the run, if one uses it."""
    storage.delete(studio, Kind.DATASET, str(dataset_id))


def uploaded_before(studio: Studio, upload_id: str) -> Kept | None:
    """The newest data set made of the same file."""
    found = datasets.of_upload(studio.db, upload_id)
    return _kept(studio, found[0]) if found else None


def file_name(studio: Studio, dataset_id: int, version: int) -> str:
    """What a version is called when it is downloaded, for example `faq-v3.jsonl`."""
    plain = unicodedata.normalize("NFKD", datasets.get(studio.db, dataset_id).name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower())[:60].strip("-")
    return f"{slug or 'data'}-v{version}.jsonl"


def parse(text: str) -> tuple[int, int | None]:
    """(number, version) as a person or an address bar gives it: “3”, or “3@2”. Raises NotFound."""
    number, _, version = str(text).strip().partition("@")
    if not all(part.isascii() and part.isdigit() and len(part) < 16 for part in (number, version or "1")):
        raise NotFound(f"There is no data set “{str(text)[:40]}”.", "Data sets have numbers, for example 3.")
    return int(number), int(version) if version else None


def _kept(studio: Studio, dataset: Dataset) -> Kept:
    with datasets.opened(studio.home, dataset.id) as book:
        newest = book.version()
    folder = studio.home.dataset(dataset.id)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Kept(dataset, newest, size, datasets.users(studio.db, dataset.id))
