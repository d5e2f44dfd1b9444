"""Landlock: the process gives up every file except those named here. Linux 5.13 and later; no privileges needed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on all architectures
PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_REG = 1 << 8
TRUNCATE = 1 << 14
FILE_SYSTEM_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # ABI -> how many kinds of access it governs
TCP = 0b11  # bind and connect; ABI 4
SCOPES = 0b11  # abstract Unix sockets and signals to processes outside; ABI 6
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE

READ = READ_FILE | READ_DIR
KEEP_FILES = READ | WRITE_FILE | REMOVE_FILE | MAKE_REG | TRUNCATE
"""Plain files in one folder: no folders, links, devices or sockets."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The version of Landlock here; 0 if there is none."""
    return max(0, _syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def restrict(allowed: Iterable[tuple[str, int]]) -> bool:
    """Keep this thread, and those it starts, from all files but ``(path, kinds of access)`` and everything beneath.

    Paths that do not exist are passed over.

    Returns
    -------
    bool
        Whether it worked; False where the system has no Landlock.
    """
    version = abi()
    if version < 1:
        return False
    handled = (1 << FILE_SYSTEM_BITS[min(version, 5)]) - 1
    attributes = _Ruleset(handled, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _syscall(CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for path, access in allowed:
            if not _allow(ruleset, path, access & handled):
                return False
        return _syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> bool:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        if not os.path.isdir(path):
            access &= OF_A_FILE
        rule = _Beneath(access, parent)
        return (
            _syscall(
                ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)
            )
            == 0
        )
    finally:
        os.close(parent)


def _syscall(number: int, *args: object) -> int:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    return int(syscall(ctypes.c_long(number), *args))
