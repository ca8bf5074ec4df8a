"""A real training process on a tiny model, watched by a real supervisor."""

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from studio.core.run_state import RunStatus
from studio.jobs.supervisor import Patience, Supervisor, _Pulse, reconcile
from studio.services import datasets, runs
from studio.services.context import Studio
from studio.store import checkpoints
from studio.store import runs as run_rows
from studio.store.db import open_database
from studio.store.locks import Held, exclusive

pytestmark = pytest.mark.slow
LONG = 300  # seconds: more than anything here takes on a busy machine


@pytest.fixture
def tiny_studio(studio: Studio, chat_models: Path) -> Studio:
    return replace(studio, home=replace(studio.home, models=chat_models))


def start(studio: Studio, faq: Path, **choices: object) -> int:
    upload_id = datasets.keep_upload(studio, faq, faq.name)
    return runs.start(studio, upload_id, None, "tiny", {"preset": "quick", "bits": 16} | choices).id


def in_background(studio: Studio, run_id: int) -> tuple[Supervisor, threading.Thread]:
    supervisor = Supervisor(studio.home, studio.db, patience=Patience(goodbye=LONG))
    thread = threading.Thread(target=supervisor.execute, args=(run_id,))
    thread.start()
    return supervisor, thread


def wait_until(true: Callable[[], bool], seconds: float = LONG) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def status(studio: Studio, run_id: int) -> str:
    return run_rows.get(studio.db, run_id).status


def trains(studio: Studio, run_id: int) -> bool:
    return run_rows.get(studio.db, run_id).step > 0


def newest_checkpoint(studio: Studio, run_id: int) -> int:
    return max((checkpoint.step for checkpoint in checkpoints.of(studio.db, run_id)), default=0)


def trainer() -> psutil.Process:
    return next(p for p in psutil.Process().children() if "workers.train" in p.cmdline())


def test_a_run_is_trained_to_its_end(tiny_studio: Studio, faq: Path) -> None:
    run_id = start(tiny_studio, faq, max_steps=4)
    assert Supervisor(tiny_studio.home, tiny_studio.db).execute(run_id)
    shown = runs.show(tiny_studio, run_id)
    assert shown["status"] == "succeeded" and shown["metrics"]["steps"] == 4
    assert [row["step"] for row in runs.curve(tiny_studio, run_id)] == [0, 1, 2, 3, 4]
    assert not Supervisor(tiny_studio.home, tiny_studio.db).execute(run_id)  # an ended run is not taken again


@pytest.mark.parametrize(("discard", "end"), [(False, RunStatus.STOPPED), (True, RunStatus.DISCARDED)])
def test_a_stop_is_obeyed_within_seconds(tiny_studio: Studio, faq: Path, discard: bool, end: RunStatus) -> None:
    run_id = start(tiny_studio, faq, epochs=100, preset="thorough")
    _, thread = in_background(tiny_studio, run_id)
    wait_until(lambda: trains(tiny_studio, run_id))
    runs.stop(tiny_studio, run_id, discard)
    thread.join(LONG)
    assert status(tiny_studio, run_id) == end
    assert (runs.view(tiny_studio, run_id).adapter is None) is discard
    assert tiny_studio.home.adapter(run_id, 1).is_dir() is not discard


def test_a_run_whose_trainer_is_killed_three_times_ends_as_if_nothing_had_happened(
    tiny_studio: Studio, faq: Path
) -> None:
    choices = {"max_steps": 60, "epochs": 100, "checkpoint_steps": 2, "bits": 4, "dropout": 0.1, "packing": True}
    killed, whole = start(tiny_studio, faq, **choices), start(tiny_studio, faq, **choices)
    thread = threading.Thread(target=Supervisor(tiny_studio.home, tiny_studio.db).work_off)
    thread.start()
    for kills in range(3):
        wait_until(lambda kills=kills: newest_checkpoint(tiny_studio, killed) >= 4 + 8 * kills)  # type: ignore[misc]
        trainer().kill()
        wait_until(lambda kills=kills: run_rows.get(tiny_studio.db, killed).fence == kills + 2)  # type: ignore[misc]
    thread.join(LONG)
    view = runs.view(tiny_studio, killed)
    assert view.run.status == status(tiny_studio, whole) == RunStatus.SUCCEEDED
    assert [("Nothing is lost: the run goes on from step" in e.reason) for e in view.interruptions] == [True] * 3
    measured = ("step", "train_loss", "validation_loss", "gradient_norm", "learning_rate", "tokens")
    curves = [[[row[m] for m in measured] for row in runs.curve(tiny_studio, run_id)] for run_id in (killed, whole)]
    assert len(curves[0]) == 61 and curves[0] == curves[1]
    adapters = [run_rows.adapter_of(tiny_studio.db, run_id) for run_id in (killed, whole)]
    assert adapters[0] and adapters[1] and adapters[0].sha256 == adapters[1].sha256


def test_a_trainer_that_always_dies_is_given_up_after_three_attempts(tiny_studio: Studio, faq: Path) -> None:
    poison, healthy = start(tiny_studio, faq), start(tiny_studio, faq)
    dies = [sys.executable, "-c", "import os; os.abort()"]
    Supervisor(tiny_studio.home, tiny_studio.db, trainer=dies).work_off()
    for run_id in (poison, healthy):
        run = run_rows.get(tiny_studio.db, run_id)
        assert run.status == RunStatus.FAILED and run.fence == 3
        assert "SIGABRT" in str(run.error_message) and "3 times without getting further" in str(run.error_message)


def test_a_trainer_that_the_computer_ends_for_memory_gets_smaller_pieces(
    tiny_studio: Studio, faq: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(tiny_studio, faq, batch_size=4)
    monkeypatch.setattr("studio.diagnostics.memory.kills_so_far", itertools.count().__next__)
    dies = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    Supervisor(tiny_studio.home, tiny_studio.db, trainer=dies).work_off()
    two, one = (event.reason for event in runs.view(tiny_studio, run_id).interruptions[:2])
    assert "fewer examples in memory at once (2)" in two and "fewer examples in memory at once (1)" in one
    run = run_rows.get(tiny_studio.db, run_id)
    assert run.status == RunStatus.FAILED and "memory ran out" in str(run.error_message)


def test_a_clock_that_jumps_ends_nobody(tiny_studio: Studio, faq: Path) -> None:
    pulse, run = _Pulse(Patience(heartbeat=3, stall=6)), run_rows.get(tiny_studio.db, start(tiny_studio, faq))
    a_day = 24 * 3600
    for beat, now in enumerate([1e9, 1e9 + a_day, 1e9 - a_day, 1e9, 1e9 + a_day, 1e9]):
        run.heartbeat_at, run.activity = now, beat
        assert pulse.judge(run) is None
    deaths = [pulse.judge(run) for _ in range(4)]  # the heart stands still
    assert deaths[:3] == [None] * 3 and deaths[3] and "stopped answering" in deaths[3].message


def test_a_trainer_that_lives_and_gets_nowhere_is_stuck(tiny_studio: Studio, faq: Path) -> None:
    pulse, run = _Pulse(Patience(heartbeat=3, stall=6)), run_rows.get(tiny_studio.db, start(tiny_studio, faq))
    deaths = []
    for now in range(8):
        run.heartbeat_at = now
        deaths.append(pulse.judge(run))
    assert deaths[:6] == [None] * 6 and deaths[6] and deaths[6].message == "Training got stuck."


def test_a_trainer_that_stops_answering_is_replaced(tiny_studio: Studio, faq: Path) -> None:
    run_id = start(tiny_studio, faq, max_steps=60, epochs=100, checkpoint_steps=2)
    supervisor = Supervisor(tiny_studio.home, tiny_studio.db, patience=Patience(heartbeat=2))
    thread = threading.Thread(target=supervisor.work_off)
    thread.start()
    wait_until(lambda: len(checkpoints.of(tiny_studio.db, run_id)) == 2)
    stopped = trainer()
    stopped.suspend()
    thread.join(LONG)
    assert not stopped.is_running()
    view = runs.view(tiny_studio, run_id)
    assert view.run.status == RunStatus.SUCCEEDED and "stopped answering" in view.interruptions[0].reason


def test_a_trainer_that_was_paused_while_the_database_is_locked_is_ended(tiny_studio: Studio, faq: Path) -> None:
    run_id = start(tiny_studio, faq, max_steps=60, epochs=100, checkpoint_steps=2)
    impatient = open_database(tiny_studio.home.database, wait_seconds=3)
    thread = threading.Thread(target=Supervisor(tiny_studio.home, impatient).work_off)
    thread.start()
    wait_until(lambda: len(checkpoints.of(tiny_studio.db, run_id)) == 2)
    paused = trainer()
    with tiny_studio.db.writing():  # as if the paused one had been in the middle of it
        paused.suspend()
        wait_until(lambda: not paused.is_running())
    thread.join(LONG)
    impatient.close()
    assert runs.view(tiny_studio, run_id).run.status == RunStatus.SUCCEEDED


def test_closing_the_studio_saves_the_run_and_puts_it_back(tiny_studio: Studio, faq: Path) -> None:
    run_id = start(tiny_studio, faq, epochs=100, preset="thorough")
    supervisor, thread = in_background(tiny_studio, run_id)
    wait_until(lambda: trains(tiny_studio, run_id))
    supervisor.close()
    thread.join(LONG)
    run = run_rows.get(tiny_studio.db, run_id)
    assert run.status == RunStatus.QUEUED and run.attempts == 0
    assert [checkpoint.step for checkpoint in checkpoints.of(tiny_studio.db, run_id)] == [run.step]
    assert "shut down" in run_rows.events(tiny_studio.db, run_id)[-1].reason
    assert not [p for p in psutil.Process().children() if "workers.train" in p.cmdline()]


def test_a_second_run_waits_while_the_device_is_busy(tiny_studio: Studio, faq: Path) -> None:
    run_id = start(tiny_studio, faq, max_steps=1)
    with exclusive(tiny_studio.home.lock("device")), pytest.raises(Held):
        Supervisor(tiny_studio.home, tiny_studio.db).execute(run_id, wait_for_device=False)
    assert status(tiny_studio, run_id) == RunStatus.QUEUED


def test_a_trainer_that_lost_its_run_stops_writing(tiny_studio: Studio, faq: Path) -> None:
    run_id = start(tiny_studio, faq, epochs=100, preset="thorough")
    _, thread = in_background(tiny_studio, run_id)
    wait_until(lambda: trains(tiny_studio, run_id))
    os.kill(trainer().pid, signal.SIGSTOP)
    assert run_rows.move(tiny_studio.db, run_id, RunStatus.FAILED, "taken away")
    os.kill(trainer().pid, signal.SIGCONT)
    thread.join(LONG)
    assert not thread.is_alive() and status(tiny_studio, run_id) == RunStatus.FAILED


def test_reconciling_rings_again_and_lets_an_orphan_go_on(tiny_studio: Studio, faq: Path) -> None:
    waiting, orphan = start(tiny_studio, faq), start(tiny_studio, faq)
    assert run_rows.claim(tiny_studio.db, orphan)
    tiny_studio.doorbell.huey.flush()
    with exclusive(tiny_studio.home.lock("device")):  # somebody trains
        reconcile(tiny_studio.home, tiny_studio.db, tiny_studio.doorbell)
    assert status(tiny_studio, orphan) == RunStatus.RUNNING
    assert len(tiny_studio.doorbell.huey) == 1
    reconcile(tiny_studio.home, tiny_studio.db, tiny_studio.doorbell)
    assert status(tiny_studio, orphan) == status(tiny_studio, waiting) == RunStatus.QUEUED
    assert "Nothing is lost: the run starts again" in runs.view(tiny_studio, orphan).interruptions[0].reason
    assert len(tiny_studio.doorbell.huey) == 1
