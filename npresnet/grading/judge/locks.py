"""Lock the process in: what it may read, and the layers that keep it to that."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Sequence

from . import audit, landlock, limits, seccomp
from .layers import AUDIT_HOOK, KERNEL


def lock(
    folder: str,
    standard_library: Sequence[str],
    packages: Sequence[str],
    wanted: dict[str, float],
    parent: int,
    layers: Sequence[str],
    modules: Sequence[str],
) -> list[str]:
    """Put on all locks that this system has, and say which.

    Parameters
    ----------
    folder : str
        The working directory, the only place to write to.
    standard_library, packages : sequence of str
        Folders on the import path, and folders or files of packages, that may be read.
    wanted : dict
        ``memory_mb``, ``cpu_seconds``, ``file_mb``.
    parent : int
        The judge's process; when it ends, this one does.
    layers : sequence of str
        Which to use, of :data:`LAYERS`.
    modules : sequence of str
        That may be imported although they are refused by default.

    Returns
    -------
    list of str
        ``landlock``, ``seccomp``, ``audit hook`` and the names of the limits.
    """
    readable = [*(entry for path in standard_library for entry in _entries(path)), *packages]
    done = []
    kernel = KERNEL in layers
    filtered = kernel and seccomp.available()
    done += limits.set_limits(int(wanted["memory_mb"]), wanted["cpu_seconds"], int(wanted["file_mb"]), filtered)
    if sys.platform == "linux":
        seccomp.give_up_privileges(parent)
    if kernel and sys.platform == "linux":
        if threading.active_count() > 1 or len(os.listdir("/proc/self/task")) > 1:
            raise RuntimeError("an imported module has started threads, which no lock would bind")
        rules = [(path, landlock.READ) for path in readable]
        rules += [(path, landlock.READ_DIR) for path in standard_library]
        rules += [(folder, landlock.KEEP_FILES), ("/dev/urandom", landlock.READ_FILE)]
        rules.append((os.devnull, landlock.READ_FILE | landlock.WRITE_FILE))
        if landlock.restrict(rules) and not _can_read(__file__):
            done.append("landlock")
        if filtered and seccomp.restrict() and not _can_connect():
            done.append("seccomp")
    if AUDIT_HOOK in layers:
        audit.install(folder, [*readable, "/dev/urandom"], standard_library, modules)
        done.append(AUDIT_HOOK)
    return done


def _entries(path: str) -> list[str]:
    """What is in a folder of the standard library, without the packages that were installed below it."""
    with contextlib.suppress(OSError):
        if os.path.isdir(path):
            return [entry.path for entry in os.scandir(path) if not entry.name.endswith("-packages")]
    return [path]


def _can_read(path: str) -> bool:
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False


def _can_connect() -> bool:
    try:
        socket.socket(socket.AF_UNIX).close()
    except OSError:
        return False
    return True
