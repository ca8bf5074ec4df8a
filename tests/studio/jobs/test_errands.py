import threading
import time
from collections.abc import Iterator

import pytest

from studio.core.conversation import Conversation, Message
from studio.core.errors import StudioError
from studio.jobs.errands import Errands
from studio.services import report
from studio.services.context import Studio
from studio.store import datasets, examples
from studio.store.home import Home


@pytest.fixture
def errands(home: Home) -> Iterator[Errands]:
    made = Errands(home)
    yield made
    made.close()


def wait(errands: Errands, name: str) -> str:
    for _ in range(600):
        if (state := errands.state(name)) != "running":
            return state
        time.sleep(0.1)
    pytest.fail("the errand does not end")


def test_an_errand_that_fails_says_so_once_and_may_be_sent_again(errands: Errands, home: Home) -> None:
    assert errands.state("x") == "never"
    errands.send("x", "workers.check", str(home.path / "no.db"), "1")
    assert wait(errands, "x") == "failed"
    assert errands.state("x") == "never"
    assert "not here any more" in (home.logs / "errands.log").read_text()


def test_a_helper_outlives_the_thread_that_asked_it_first(errands: Errands) -> None:
    def ask() -> None:
        with pytest.raises(StudioError, match="cannot be shown"):
            errands.ask({"nothing": "at all"})

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    time.sleep(0.5)
    assert errands.is_up("workers.lengths")


def test_a_large_data_set_is_checked_beside_the_page(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "AT_ONCE_ROWS", 10)
    made = datasets.create(
        studio.db, name="d", filename="d.csv", sha256="0", shape="columns", mapping={}, columns=[], rows=60,
        usable_rows=60, skipped=[],
    )  # fmt: skip
    studio.home.dataset(made.id).mkdir()
    talks = (Conversation((Message("user", f"Ask {n}?"), Message("assistant", f"Say {n}.")), n) for n in range(60))
    examples.create(studio.home.versions(made.id), talks, "Uploaded")
    assert report.report(studio, made.id).state == "checking"
    assert wait(studio.errands, f"check {made.id} 1") == "done"
    ready = report.report(studio, made.id)
    assert (ready.state, ready.figures["rows"]) == ("ready", 60)


def test_closing_ends_what_is_under_way(errands: Errands) -> None:
    errands.send("x", "workers.lengths", "--answer")  # its libraries take longer to load than this test
    process = errands._sent["x"]
    assert errands.state("x") == "running"
    errands.close()
    assert process.returncode
    assert errands.state("x") == "never"
