"""The one error of reading and writing checkpoints, and the door that turns every mishap into it."""

from __future__ import annotations

import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What Python, NumPy and the containers raise on content that is not what it claims to be.
_DAMAGE = (
    ValueError, TypeError, LookupError, ArithmeticError, EOFError, RuntimeError, MemoryError,
    struct.error, zlib.error, tarfile.TarError,
)  # fmt: skip


class CheckpointError(ValueError):
    """A checkpoint cannot be read, understood or written; the message says what was expected and found.

    Attributes
    ----------
    path : Path or None
        The file at fault, once it is known; it opens the message.
    """

    path: Path | None = None


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Raise every error that the content of ``path`` causes as a :class:`CheckpointError` that names the file.

    ``OSError`` passes: a file that is missing or forbidden is not a damaged one.
    """
    try:
        yield
    except CheckpointError as error:
        if error.path is not None:  # an inner file is already named
            raise
        raise _named(path, str(error)) from error.__cause__
    except _DAMAGE as error:
        raise _named(path, f"the file is damaged ({type(error).__name__}: {str(error)[:200]})") from error


def _named(path: Path, message: str) -> CheckpointError:
    error = CheckpointError(f"{path}: {message}")
    error.path = path
    return error
