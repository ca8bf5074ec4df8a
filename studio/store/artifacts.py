"""Publish a folder so that it is either whole or not there, however the process ends."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

MANIFEST = "manifest.json"
PARTIAL = ".partial"


@dataclass(frozen=True)
class Published:
    size_bytes: int
    sha256: str  # of the manifest


def publish(target: Path, fill: Callable[[Path], None]) -> Published:
    """Let `fill` write files into a partial folder, then make it `target`, replacing what was there."""
    partial = target.with_name(target.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        fill(partial)
        files = sorted(p for p in partial.rglob("*") if p.is_file())
        manifest = {str(p.relative_to(partial)): file_sha256(p) for p in files}
        for path in files:
            _sync(path)
        # manifest last: its existence means the folder is whole
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        _sync(partial / MANIFEST)
        _sync(partial)
        published = Published(sum(p.stat().st_size for p in files), file_sha256(partial / MANIFEST))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    remove(target)
    partial.rename(target)
    _sync(target.parent)
    return published


def remove(folder: Path) -> None:
    """Remove a published folder, or what is left of one; a kill in the middle leaves nothing that looks whole."""
    if not folder.name.endswith(PARTIAL):
        gone = folder.with_name(f"{folder.name}.gone{PARTIAL}")
        shutil.rmtree(gone, ignore_errors=True)
        try:
            folder = folder.rename(gone)
        except FileNotFoundError:
            return
    shutil.rmtree(folder, ignore_errors=True)


def is_whole(folder: Path, sha256: str = "") -> bool:
    """Whether every file of a published folder is as it was written; `sha256` is its manifest's, if known."""
    try:
        if sha256 and file_sha256(folder / MANIFEST) != sha256:
            return False
        manifest: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(file_sha256(folder / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError):
        return False


def file_sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_order(content: bytes) -> bytes:
    """A safetensors file with its free texts in order of their names; the library writes them in a random one."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
    assert len(ordered) == size
    return content[:8] + ordered + content[8 + size :]
