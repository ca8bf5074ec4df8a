"""What a run left, to take elsewhere: the adapter as a zip that plain transformers and peft can load.

The same run gives the same bytes. Nothing of this machine is in it: no path, no secret, no example of the data.
"""

import json
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from studio.core.errors import ModelError, StudioError
from studio.core.recipe import Recipe
from studio.services import model_card, truncation
from studio.services.context import Studio
from studio.store import adapters, runs
from studio.store.artifacts import MANIFEST, file_sha256
from studio.store.datasets import get as get_dataset
from studio.store.tables import Run

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
_TRY_IT = Path(__file__).parents[2] / "assets" / "try_it.py"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can name
_BLOCK = 1 << 20
_BASE_NAME = "base_model_name_or_path"


@dataclass(frozen=True)
class _Contents:
    files: dict[str, Path]
    texts: dict[str, str | bytes]


def adapter_zip(studio: Studio, run_id: int, rank: int | None = None) -> Path:
    """The run's adapter as a zip file inside its own folder, written afresh. Errors as `write_adapter_zip`."""
    name = "adapter.zip" if rank is None else f"adapter-rank-{rank}.zip"
    return write_adapter_zip(studio, run_id, studio.home.run(run_id) / name, rank)


def write_adapter_zip(studio: Studio, run_id: int, out: Path, rank: int | None = None) -> Path:
    """Write the run's adapter to `out`; into it under its own name if it is a folder. Returns the file's path.

    With `rank` an adapter that was trained with DyLoRA is cut down to it first.
    Raises NotFound if the run has no adapter, RecipeError if it has not that rank, ModelError if its files are damaged,
    StudioError if `out` cannot be written; all in words. A file that was there before stays whole until the new one is.
    """
    contents = _contents(studio, run_id, rank)
    target = out / file_name(runs.get(studio.db, run_id), rank) if out.is_dir() else out
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            _write(contents, file)
        partial.replace(target)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise StudioError(
            f"The file {target.name} could not be written ({reason}).",
            "Free some space, or choose another folder.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def file_name(run: Run, rank: int | None = None) -> str:
    """What the run's zip is called, for example `support-helper-run-42.zip`."""
    plain = unicodedata.normalize("NFKD", run.name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:60].strip("-")
    cut = "" if rank is None else f"-rank-{rank}"
    return f"{slug or 'adapter'}-run-{run.id}{cut}.zip"


def _contents(studio: Studio, run_id: int, rank: int | None) -> _Contents:
    adapter = adapters.usable(studio.db, studio.home, run_id)
    run = runs.get(studio.db, run_id)
    if rank is not None:
        truncation.require_choice(Recipe.model_validate(run.recipe), rank)
    folder = adapters.folder(studio.home, adapter)
    files = _whole(folder, run_id, adapter.sha256)
    base = model_card.base_of(studio.home.models, adapter)
    config = json.loads(files.pop(CONFIG).read_text(encoding="utf-8"))
    if Path(config.get(_BASE_NAME) or "/").is_absolute():
        config[_BASE_NAME] = base.public_id
    card = model_card.write(run, adapter, base, get_dataset(studio.db, run.dataset_id), rank)
    cut: dict[str, str | bytes] = {}
    if rank is not None:
        cut[WEIGHTS] = truncation.truncate_weights(str(files.pop(WEIGHTS)), rank)
        config = truncation.truncate_config(config, rank)
    texts = cut | {
        CONFIG: json.dumps(config, indent=2, sort_keys=True) + "\n",
        "README.md": card,
        "recipe.yaml": _recipe(run, base.public_id, adapter.base_fingerprint),
        "try_it.py": _TRY_IT.read_text(encoding="utf-8"),
    }
    return _Contents(files, texts)


def _whole(folder: Path, run_id: int, sha256: str) -> dict[str, Path]:
    """The files that belong into the zip, as they were published. Raises ModelError if one is not what it was."""
    manifest: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    wanted = [name for name in (WEIGHTS, CONFIG, *TOKENIZER_FILES) if name in manifest or name in (WEIGHTS, CONFIG)]
    for name in wanted:
        path = folder / name
        expected = sha256 if name == WEIGHTS else manifest.get(name)
        if not path.is_file() or file_sha256(path) != expected:
            raise ModelError(
                f"The adapter of run {run_id} is damaged: {name} is not what was saved.",
                "Train it again, or put its folder back from a backup.",
            )
    return {name: folder / name for name in wanted}


def _recipe(run: Run, base_id: str, fingerprint: str) -> str:
    return (
        "# Repeats this run: studio train DATA --model BASE --recipe recipe.yaml\n"
        f"# base model: {base_id}, fingerprint {fingerprint}\n"
        f"# data: {run.data.get('rows')} examples, sha256 {run.data.get('sha256')}\n"
        + Recipe.model_validate(run.recipe).as_yaml()
    )


def _write(contents: _Contents, file: IO[bytes]) -> None:
    with ZipFile(file, "w") as archive:
        for name in sorted(contents.files.keys() | contents.texts.keys()):
            info = ZipInfo(name, _LONG_AGO)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            info.compress_type = ZIP_STORED if name == WEIGHTS else ZIP_DEFLATED  # weights hardly shrink
            if name in contents.texts:
                archive.writestr(info, contents.texts[name])
                continue
            with contents.files[name].open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while block := source.read(_BLOCK):
                    target.write(block)
