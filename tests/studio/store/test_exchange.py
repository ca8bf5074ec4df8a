from pathlib import Path

import pytest

from studio.store import exchange

NAMES = ["a", "b", "c", "d"]


def lay_out(folder: Path) -> tuple[Path, Path]:
    """a and b are there; b and c come; d is nowhere."""
    incoming, aside = folder / "incoming", folder / "backups" / "aside"
    incoming.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text("old")
    for name in ("b", "c"):
        (incoming / name).write_text("new")
    return incoming, aside


def found(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


WANTED = {"b": "new", "c": "new", "backups/aside/a": "old", "backups/aside/b": "old"}


def test_all_things_change_places(tmp_path: Path) -> None:
    exchange.exchange(tmp_path, *lay_out(tmp_path), NAMES)
    assert found(tmp_path) == WANTED
    assert not (tmp_path / "incoming").exists()


@pytest.mark.parametrize("moves_made", range(5))
def test_an_exchange_that_was_cut_off_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves_made: int
) -> None:
    incoming, aside = lay_out(tmp_path)
    before, left = found(tmp_path), moves_made
    really = Path.rename

    def rename(path: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return really(path, target)

    with monkeypatch.context() as cut_off:
        cut_off.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            exchange.exchange(tmp_path, incoming, aside, NAMES)
    exchange.finish(tmp_path)
    (tmp_path / "exchange.json.partial").unlink(missing_ok=True)
    assert found(tmp_path) == (before if moves_made == 0 else WANTED)
    exchange.finish(tmp_path)
