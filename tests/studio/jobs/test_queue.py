import pickle

import pytest

from studio.jobs.queue import Doorbell
from studio.store.home import Home


def test_a_ring_reaches_the_consumer_with_the_run_s_id(home: Home) -> None:
    answered: list[int] = []
    Doorbell(home).ring(42)
    consumer = Doorbell(home, answer=answered.append)
    consumer.huey.execute(consumer.huey.dequeue())
    assert answered == [42]
    assert consumer.huey.dequeue() is None


def test_a_message_that_this_studio_did_not_sign_is_not_opened(home: Home) -> None:
    opened: list[int] = []
    consumer = Doorbell(home, answer=opened.append)
    consumer.huey.storage.enqueue(pickle.dumps(("anything", "at all")))
    with pytest.raises(ValueError, match=r"Separator|Signature"):
        consumer.huey.dequeue()
    assert not opened and consumer.huey.dequeue() is None


def test_the_queue_s_secret_is_for_its_owner_alone(home: Home) -> None:
    Doorbell(home).ring(1)
    assert (home.path / "queue.secret").stat().st_mode & 0o777 == 0o600


def test_a_queue_that_cannot_be_told_does_not_refuse_the_click(home: Home) -> None:
    home.queue.mkdir()
    Doorbell(home).ring(1)
