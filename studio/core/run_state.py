"""The states of a run and the moves allowed between them. A move is made in one place: `studio.store.runs.move`."""

from enum import StrEnum


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"  # stopped by the user, adapter kept
    DISCARDED = "discarded"  # stopped by the user, nothing kept
    FAILED = "failed"


class Phase(StrEnum):
    """What a running run is doing, in order."""

    LOADING = "loading"
    CHECKING = "checking"  # measuring the untrained model
    TRAINING = "training"
    SAVING = "saving"


class Wish(StrEnum):
    """What the user asked of a run that has not ended."""

    KEEP = "keep"
    DISCARD = "discard"


MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.DISCARDED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset({RunStatus.SUCCEEDED, RunStatus.STOPPED, RunStatus.DISCARDED, RunStatus.FAILED}),
}

ENDED = frozenset(RunStatus) - MOVES.keys()
WITH_ADAPTER = frozenset({RunStatus.SUCCEEDED, RunStatus.STOPPED})
