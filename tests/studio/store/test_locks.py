import os
from pathlib import Path
from time import time

import pytest

from studio.store.locks import Held, Share, exclusive


def test_whoever_is_kept_out_learns_who_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "studio.lock"
    with exclusive(lock), pytest.raises(Held) as refused, exclusive(lock, wait=False):
        pass
    holder = refused.value.holder
    assert holder is not None and holder.pid == os.getpid() and abs(holder.since - time()) < 5
    assert holder.words.startswith(f"process {os.getpid()}, since ")


def test_an_unreadable_lock_file_still_locks(tmp_path: Path) -> None:
    lock = tmp_path / "studio.lock"
    with exclusive(lock):
        lock.write_text("by an older version")
        with pytest.raises(Held) as refused, exclusive(lock, wait=False):
            pass
    assert refused.value.holder is None


def test_those_who_share_keep_out_whoever_wants_to_be_alone(tmp_path: Path) -> None:
    lock = tmp_path / "use.lock"
    one, two = Share(lock), Share(lock)
    one.release()
    with pytest.raises(Held), exclusive(lock, wait=False):
        pass
    two.release()
    with exclusive(lock, wait=False), pytest.raises(Held):
        Share(lock)
