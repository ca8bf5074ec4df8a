"""From an exception or an exit code to a sentence a person can act on."""

import signal

from studio.core.errors import DiskFull, StudioError, is_disk_full

SHUT_DOWN = "The studio was shut down while this run was training. It goes on when the studio runs again."


def is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def explain(error: BaseException) -> tuple[str, str]:
    """(what happened, what to do next) for an error that ended a run."""
    if isinstance(error, StudioError):
        return error.message, error.hint
    if is_out_of_memory(error):
        return (
            "Training ran out of memory. Your data is fine.",
            "Lower “Examples at once” or “Longest example” under More settings, or choose a smaller base model.",
        )
    if is_disk_full(error):
        return explain(DiskFull())
    return (
        "Training stopped because of an unexpected error.",
        "Start it again. If it stops at the same place, the log below tells the details.",
    )


def explain_exit(code: int, memory_ran_out: bool) -> tuple[str, str]:
    """The same for a training process that ended without a word; `code` as `subprocess` gives it."""
    if memory_ran_out:
        return (
            "The computer ended the training process because memory ran out.",
            "Lower “Examples at once” or “Longest example” under More settings, or close other programs.",
        )
    if ended_from_outside(code):
        return (
            "The training process was ended from outside.",
            "If this happens again, memory may be short: close other programs, or lower “Examples at once”.",
        )
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return (
        f"The training process ended unexpectedly ({name}).",
        "Start it again. If it stops at the same place, the log tells the details.",
    )


def ended_from_outside(code: int) -> bool:
    return code in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
