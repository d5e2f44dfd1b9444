"""A temporary working directory, gone afterwards whatever was done to it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new, empty folder that only this user may enter. Nobody must use it any more when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="npresnet-judge-")).resolve()
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    for parent, folders, _ in os.walk(folder):  # links are not followed
        for name in folders:
            path = os.path.join(parent, name)
            with suppress(OSError):
                if not os.path.islink(path):
                    os.chmod(path, stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)
