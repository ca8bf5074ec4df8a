import pytest

from studio.core.errors import ModelError
from studio.diagnostics.failures import explain, explain_exit


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModelError("No such model.", "Choose another."), "No such model."),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "ran out of memory"),
        (MemoryError(), "ran out of memory"),
        (OSError(28, "No space left on device"), "disk is full"),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), "disk is full"),
        (ZeroDivisionError("division by zero"), "unexpected error"),
    ],
)
def test_an_error_becomes_a_sentence_and_a_next_step(error: Exception, words: str) -> None:
    message, hint = explain(error)
    assert words in message and hint and "division" not in message


@pytest.mark.parametrize(
    ("code", "memory_ran_out", "words"),
    [(-9, True, "memory ran out"), (-9, False, "from outside"), (-11, False, "SIGSEGV"), (3, False, "exit code 3")],
)
def test_an_exit_without_a_word_is_explained(code: int, memory_ran_out: bool, words: str) -> None:
    message, hint = explain_exit(code, memory_ran_out)
    assert words in message and hint
