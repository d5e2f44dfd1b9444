"""Is it Python at all? Looked at without running anything, and without a word of the compiler's own on the terminal."""

from __future__ import annotations

import ast
import functools
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 2 << 20  # characters of a submission
_one_at_a_time = threading.Lock()


class NotPython(ValueError):
    """Why a text is not Python, in one sentence, the type of the compiler's exception, and the line if it is known."""

    def __init__(self, message: str, kind: str, line: int | None) -> None:
        super().__init__(message)
        self.message, self.kind, self.line = message, kind, line


@functools.lru_cache(maxsize=32)
def parsed(source: str) -> ast.Module:
    """The syntax tree of a file that Python can compile; kept, because every part asks again. Nobody changes it.

    Raises
    ------
    NotPython
        If it cannot.
    """
    if len(source) > LONGEST:
        raise NotPython(f"the file has {len(source)} characters, and at most {LONGEST} are read", "SyntaxError", None)
    try:
        with _without_warnings():
            compile(source, "submission", "exec", dont_inherit=True)  # finds more than the parser alone
            return ast.parse(source)
    except SyntaxError as error:
        raise NotPython(error.msg or "invalid syntax", type(error).__name__, error.lineno) from None
    except ValueError as error:  # zero bytes, half characters
        raise NotPython(str(error), "SyntaxError", None) from None
    except (RecursionError, MemoryError, OverflowError):
        raise NotPython("an expression is nested too deeply; write it in several lines", "SyntaxError", None) from None


@contextmanager
def _without_warnings() -> Iterator[None]:
    """A formula in a comment such as ``\\sum`` would make the compiler print to the grader's terminal."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
