import json
from pathlib import Path

import pytest

from studio.core.errors import ModelError
from studio.store import base_models


def write_safetensors(path: Path, tensors: dict[str, bytes]) -> None:
    header, start = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [start, start + len(data)]}
        start += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensors.values()))


def test_a_fingerprint_does_not_depend_on_how_weights_are_sharded(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    write_safetensors(one / "model.safetensors", {"a": b"123", "b": b"45"})
    write_safetensors(two / "model-1.safetensors", {"b": b"45"})
    write_safetensors(two / "model-2.safetensors", {"a": b"123"})
    assert base_models.fingerprint(one) == base_models.fingerprint(two)


def test_a_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"a": b"123"})
    before = base_models.fingerprint(tmp_path)
    assert base_models.fingerprint(tmp_path) == before
    write_safetensors(tmp_path / "model.safetensors", {"a": b"1234"})
    assert base_models.fingerprint(tmp_path) != before


def test_damaged_weights_are_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{cut off")
    with pytest.raises(ModelError, match="damaged or incomplete"):
        base_models.fingerprint(tmp_path)


def test_a_folder_without_safe_weights_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        base_models.find(tmp_path, "mine")
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no \.safetensors weights \(only pytorch_model\.bin"):
        base_models.find(tmp_path, "mine")
