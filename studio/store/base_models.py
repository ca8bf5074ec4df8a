"""Base models on disk: where one lies, what it is, and the fingerprint of its weights.

Knows nothing of torch: safetensors files are read as bytes.
"""

import json
import mmap
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

from studio.core.catalog import CATALOG
from studio.core.errors import ModelError

CARD = "studio-model.json"  # what the studio wrote beside weights that it fetched
_FINGERPRINT = "studio-fingerprint.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


@dataclass(frozen=True)
class BaseModel:
    id: str
    name: str
    path: Path
    source: str  # which weights these are, in words: a hub id and revision, a package and version, or a folder's name
    licence: str

    def write_card(self) -> None:
        card = asdict(self) | {"path": None}
        (self.path / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def folder_of(models: Path, model_id: str) -> Path:
    """The folder where the weights of `model_id` belong, whether they are there or not."""
    if Path(model_id).is_absolute():
        return Path(model_id)
    return models / model_id.replace("/", "--")


def find(models: Path, model_id: str) -> BaseModel | None:
    """The base model if its weights are on this machine.

    Raises ModelError if the folder is there but cannot be used.
    """
    folder = folder_of(models, model_id)
    if not folder.is_dir():
        return None
    check(folder)
    card = folder / CARD
    known = CATALOG.get(model_id)
    written = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    return BaseModel(
        id=model_id,
        name=known.name if known else folder.name,
        path=folder,
        source=written.get("source", folder.name),
        licence=written.get("licence", known.licence if known else "see the model's own card"),
    )


def check(folder: Path) -> None:
    """Raises ModelError, in words, if the folder is not a model that can be loaded safely."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The folder {folder.name} is not a model: it has no config.json.",
            "Choose the folder that holds config.json, the tokenizer and the .safetensors files.",
        )
    if not weights(folder):
        other = [p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".gguf"}]
        raise ModelError(
            f"The model folder {folder.name} has no .safetensors weights"
            + (f" (only {other[0]}, a format the studio does not open)." if other else "."),
            "Download the model's safetensors files into it, or choose another base model.",
        )


def weights(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.safetensors") if not p.name.startswith("adapter_"))


def fingerprint(folder: Path) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, in order of name: the same however they are sharded.

    Reading a model takes seconds, so the result is kept beside the weights until they change.
    """
    files = weights(folder)
    state = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    cache = folder / _FINGERPRINT
    if cache.is_file():
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["files"] == state:
            return str(kept["sha256"])
    try:
        digest = _digest(files)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"The weights in the model folder {folder.name} are damaged or incomplete.", "Download the model again."
        ) from error
    try:
        cache.write_text(json.dumps({"files": state, "sha256": digest}), encoding="utf-8")
    except OSError:
        return digest  # a folder that cannot be written to is read again next time
    return digest


def tokenizer_fingerprint(folder: Path) -> str:
    """SHA-256 over the files that decide how texts become tokens: the tokenizer and its chat template."""
    digest = sha256()
    for name in _TOKENIZER_FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()


def parameters(folder: Path) -> int:
    """How many numbers its tensors hold, read from the files' headers."""
    return sum(prod(entry["shape"]) for path in weights(folder) for entry in _header(path)[0].values())


def _digest(files: list[Path]) -> str:
    tensors: dict[str, tuple[Path, int, int, str]] = {}
    for path in files:
        header, data_start = _header(path)
        for name, entry in header.items():
            start, end = (data_start + offset for offset in entry["data_offsets"])
            tensors[name] = (path, start, end, f"{name}:{entry['dtype']}:{entry['shape']}")
    total = sha256()
    maps = {path: _map(path) for path in files}
    for _, (path, start, end, title) in sorted(tensors.items()):
        total.update(title.encode())
        total.update(memoryview(maps[path])[start:end])
    return total.hexdigest()


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """(name -> dtype, shape and data_offsets; where the data begin)"""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return header, 8 + size


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # stays open without the file
