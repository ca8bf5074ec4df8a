"""A data set by its id, fetched from a small hub on this machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.core.errors import DataError
from studio.data.hub import fetch
from studio.data.limits import Limits
from studio.data.readers.table import no_tick
from tests.hub import SmallHub

ROWS = b'{"question": "Hi", "answer": "Hello"}\n'
Hub = Callable[..., str]


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Makes a `SmallHub` and gives its address."""
    hubs: list[SmallHub] = []

    def started(files: dict[str, bytes], status: int = 200, moved: str = "") -> str:
        hubs.append(SmallHub(files, status, moved))
        return hubs[-1].url

    yield started
    for hub in hubs:
        hub.close()


def names(folder: Path, url: str, limits: Limits = Limits()) -> list[str]:  # noqa: B008
    return [source.name for source in fetch(url, "acme/clocks", folder, limits, no_tick)]


def test_the_training_files_are_fetched(hub: Hub, tmp_path: Path) -> None:
    shares: list[float] = []
    files = {"README.md": b"# Clocks", "data/train-0.jsonl": ROWS, "data/train-1.jsonl": ROWS, "data/test.jsonl": ROWS}
    fetched = fetch(hub(files), "acme/clocks", tmp_path, Limits(), shares.append)
    assert [source.name for source in fetched] == ["data_train-0.jsonl", "data_train-1.jsonl"]
    assert all(source.path.read_bytes() == ROWS for source in fetched) and shares == [0.5, 1.0]


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ({"a/train.parquet": b"1", "b/train.parquet": b"1"}, ["a_train.parquet"]),
        ({"clocks.csv": b"1", "clocks_test.csv": b"1", "notes.txt": b"1"}, ["clocks.csv"]),
        ({"clocks.py": b"code", "train.json": b"1", "dataset_infos.json": b"1"}, ["train.json"]),
        ({"test.csv": b"1"}, ["test.csv"]),
    ],
)
def test_of_many_files_those_to_learn_from_are_chosen(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], chosen: list[str]
) -> None:
    assert names(tmp_path, hub(files)) == chosen


def test_a_file_that_lies_elsewhere_is_followed_there(hub: Hub, tmp_path: Path) -> None:
    store = hub({"train.jsonl": ROWS})
    assert names(tmp_path, hub({"train.jsonl": ROWS}, moved=f"{store}/far/")) == ["train.jsonl"]


@pytest.mark.parametrize(
    ("files", "status", "sentence"),
    [
        ({"clocks.py": b"code"}, 200, "needs code to run; we don't run code from the internet"),
        ({"picture.png": b"1"}, 200, "no file the studio can read"),
        ({"train.csv": b"1"}, 404, "was not found"),
        ({"train.csv": b"1"}, 401, "is private"),
        ({"train.csv": b"1" * 2**21}, 200, "too large: 1 files of 2 MiB"),
    ],
)
def test_what_cannot_be_fetched_is_said(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], status: int, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        names(tmp_path, hub(files, status), Limits(archive_mib=1))
    assert caught.value.hint and list(tmp_path.iterdir()) == []


def test_a_circle_ends(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="in circles"):
        names(tmp_path, hub({"train.csv": b"1"}, moved="/datasets/"))


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "", "http://evil.example/x", "a b"])
def test_only_ids_are_asked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no data set's id"):
        fetch("http://127.0.0.1:9", name, tmp_path, Limits(), no_tick)


def test_no_hub_within_reach_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"could not be fetched from 127\.0\.0\.1:9"):
        names(tmp_path, "http://127.0.0.1:9")
