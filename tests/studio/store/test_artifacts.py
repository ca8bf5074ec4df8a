import json
from pathlib import Path

import pytest

from studio.store.artifacts import MANIFEST, file_sha256, publish


def test_a_published_folder_is_whole(tmp_path: Path) -> None:
    publish(tmp_path / "out", lambda folder: (folder / "a.txt").write_text("hello") and None)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest == {"a.txt": file_sha256(tmp_path / "out" / "a.txt")}


def test_a_failed_publish_leaves_what_was_there(tmp_path: Path) -> None:
    publish(tmp_path / "out", lambda folder: (folder / "a.txt").write_text("old") and None)

    def breaks(folder: Path) -> None:
        (folder / "a.txt").write_text("new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        publish(tmp_path / "out", breaks)
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
