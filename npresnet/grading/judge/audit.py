"""The second layer, on every system: Python itself refuses what the process should not do.

An audit hook stands between Python code and files, processes, sockets and foreign libraries. It cannot be removed, but
it lives in the same interpreter as the submission: somebody determined gets around it. Where the system has Landlock
and seccomp those hold by themselves; elsewhere this is what there is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

NEVER = (
    "code.__new__", "ctypes.", "ftplib.", "gc.get_", "http.", "os.chflags", "os.chmod", "os.chown", "os.exec",
    "os.fork", "os.getxattr", "os.lchflags", "os.link", "os.listxattr", "os.lockf", "os.mkdir", "os.posix_spawn",
    "os.removexattr", "os.rmdir", "os.setxattr", "os.spawn", "os.symlink", "os.system",
    "os.utime", "pty.", "resource.", "shutil.", "smtplib.", "socket.", "sqlite3.", "subprocess.",
    "sys.addaudithook", "sys.setprofile", "sys.settrace", "syslog.", "urllib.", "webbrowser.",
)  # fmt: skip
"""Beginnings of the names of events that are refused."""
CHANGES_FILES = {"os.remove": (0,), "os.rename": (0, 1), "os.truncate": (0,), "os.chdir": (0,)}
READS_FOLDERS = ("os.listdir", "os.scandir")
MODULES = frozenset({
    "cffi", "ctypes", "jax", "jaxlib", "keras", "npresnet", "onnxruntime", "tensorflow", "tinygrad", "torch",
})  # fmt: skip
"""Never imported, wherever they are found."""


def install(folder: str, readable: Sequence[str], listable: Sequence[str], allowed_modules: Sequence[str]) -> None:
    """Refuse, from now on, all but arithmetic and plain files in ``folder``.

    Parameters
    ----------
    folder : str
        The working directory.
    readable : sequence of str
        Files and folders that may be read.
    listable : sequence of str
        Folders whose names, but not files, may be read.
    allowed_modules : sequence of str
        Modules that may be imported although they are among :data:`MODULES`.
    """
    realpath, separator, process = os.path.realpath, os.sep, os.getpid()
    own = realpath(folder)
    open_roots = tuple(realpath(path) for path in readable)
    own_lists = frozenset(map(realpath, listable))
    refused_modules = MODULES.difference(allowed_modules)
    write_flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    never, changes, folders = NEVER, CHANGES_FILES, READS_FOLDERS
    is_a, contains_any, letters, text, decoded, null = isinstance, any, frozenset, str, os.fsdecode, os.devnull

    def beneath(path: Any, roots: Sequence[str]) -> bool:
        if path is None:
            path = "."
        if is_a(path, int):  # a descriptor that is open already
            return True
        if not is_a(path, (text, bytes)):
            return False
        name = realpath(decoded(path))
        if name == null:
            return True
        return contains_any(name == root or name.startswith(root + separator) for root in roots)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writes = is_a(flags, int) and flags & write_flags
            if is_a(mode, text) and letters(mode) & letters("wax+"):
                writes = True
            if not beneath(path, (own,) if writes else (own, *open_roots)):
                raise PermissionError(f"submissions may not open {text(path)[:100]!r}")
        elif event == "import":
            if text(args[0]).split(".")[0] in refused_modules:
                raise ModuleNotFoundError(f"submissions may not import {args[0]}", name=text(args[0]))
        elif event in ("os.kill", "signal.pthread_kill", "os.killpg"):
            if event != "os.kill" or args[0] != process:
                raise PermissionError("submissions may not send signals")
        elif event in changes:
            if contains_any(not beneath(args[index], (own,)) for index in changes[event]):
                raise PermissionError("submissions may not change files outside their folder")
        elif event in folders:
            if not beneath(args[0], (own, *open_roots)) and text(args[0]) not in own_lists:
                raise PermissionError("submissions may not list folders outside their own")
        elif event.startswith(never) and event != "gc.get_referents":
            raise PermissionError(f"submissions may not use {event}")

    sys.addaudithook(hook)
