"""Write a file whole or not at all: into a temporary neighbour first, which then takes the place of the target."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import CheckpointError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends without an error it replaces ``path``.

    Whatever happens (an error, Ctrl-C, a full disk), ``path`` holds either its old content or all of the new one, and
    the temporary file is removed. The content reaches the disk before its name does. A file that is replaced keeps
    its permissions; a symbolic link keeps pointing where it did.

    Parameters
    ----------
    path : path

    Raises
    ------
    CheckpointError
        If ``path`` is a directory.
    FileNotFoundError
        If the directory to write to does not exist.

    Examples
    --------
    >>> with atomic_write("weights.bin") as temporary:  # doctest: +SKIP
    ...     temporary.write_bytes(b"...")
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise CheckpointError(f"{path}: is a directory; expected the path of a file")
    temporary = temporary_neighbour(target)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the umask applies, as to any new file
    try:
        mode = stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)
        yield temporary
        temporary.chmod(mode)
        sync(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    sync(target.parent)


def temporary_neighbour(target: Path) -> Path:
    """Return an unused name beside ``target``, on the same disk, so that renaming is atomic."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: the directory {target.parent} does not exist; create it first")
    return target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")


def sync(path: Path) -> None:
    """Wait until a file or a directory is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a directory
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
