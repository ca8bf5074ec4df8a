"""The states of a run and the moves allowed between them. Moves are made in one place: `studio.store.runs`."""

from enum import StrEnum


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"  # by the user, or by the studio when the disk is nearly full; goes on from its checkpoint
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
    PAUSE = "pause"


# RUNNING to QUEUED is an interruption: the run goes on from its checkpoint. STOPPED and FAILED to QUEUED is a user who
# lets it go on.
MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.DISCARDED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset(RunStatus) - {RunStatus.RUNNING},
    RunStatus.PAUSED: frozenset({RunStatus.QUEUED, RunStatus.DISCARDED}),
    RunStatus.STOPPED: frozenset({RunStatus.QUEUED}),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED, RunStatus.DISCARDED}),
}

ENDED = frozenset({RunStatus.SUCCEEDED, RunStatus.STOPPED, RunStatus.DISCARDED, RunStatus.FAILED})
WITH_ADAPTER = frozenset({RunStatus.SUCCEEDED, RunStatus.STOPPED})
