import pytest

from studio.core.conversation import Conversation, Message, write_jsonl
from studio.core.errors import NotFound
from studio.store import datasets
from studio.store.db import open_database
from studio.store.home import Home
from studio.store.tables import Dataset


@pytest.fixture
def dataset(home: Home) -> Dataset:
    made = datasets.create(
        open_database(home.database), name="d", filename="d.csv", sha256="0" * 64, shape="columns", mapping={},
        columns=[], rows=3, usable_rows=3, skipped=[],
    )  # fmt: skip
    home.dataset(made.id).mkdir()
    return made


def test_a_data_set_of_the_first_studios_gets_versions_when_it_is_opened(home: Home, dataset: Dataset) -> None:
    talks = [Conversation((Message("user", f"Ask {n}"), Message("assistant", f"Say {n}")), n) for n in range(3)]
    write_jsonl(home.examples(dataset.id), talks)
    for _ in range(2):
        with datasets.opened(home, dataset.id) as book:
            assert [e.conversation for e in book.read(1)] == talks
    assert [path.name for path in home.dataset(dataset.id).glob("examples*")].count("examples.db") == 1
    assert not list(home.dataset(dataset.id).glob("*.partial"))


def test_a_data_set_whose_files_are_gone_is_said_in_words(home: Home, dataset: Dataset) -> None:
    with pytest.raises(NotFound, match="Upload the file once more"), datasets.opened(home, dataset.id):
        pass
