"""From an exception or an exit code to a sentence a person can act on."""

import signal

from studio.core.errors import DiskFull, StudioError, is_disk_full


def explain(error: BaseException) -> tuple[str, str]:
    """(what happened, what to do next) for an error that ended a run."""
    text = str(error)
    if isinstance(error, StudioError):
        return error.message, error.hint
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
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


def explain_exit(code: int) -> tuple[str, str]:
    """The same for a training process that ended without a word; `code` as `subprocess` gives it."""
    if code == -signal.SIGKILL:
        return (
            "The computer ended the training process, most likely because memory ran out.",
            "Lower “Examples at once” or “Longest example” under More settings, or close other programs.",
        )
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return (
        f"The training process ended unexpectedly ({name}).",
        "Start it again. If it stops at the same place, the log tells the details.",
    )
