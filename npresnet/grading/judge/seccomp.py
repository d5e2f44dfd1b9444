"""A seccomp filter: the system calls that arithmetic in Python needs, and no other. Linux on x86-64 and aarch64.

Everything that is not listed is refused with EPERM: sockets, new processes and programs, signals to others, changes of
owners and modes, mounting, tracing ... Threads may be started; ``clone3`` does not exist (ENOSYS), so that the C
library falls back to ``clone``, whose flags the filter can see. A filter stays for the life of the process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

# Names of calls, with their numbers on x86-64 and aarch64 (None: there is no such call).
_FREE = {
    # files: which of them is left to Landlock
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "pwrite64": (18, 68),
    "open": (2, None), "openat": (257, 56), "close": (3, 57), "close_range": (436, 436), "lseek": (8, 62),
    "stat": (4, None), "fstat": (5, 80), "lstat": (6, None), "newfstatat": (262, 79), "statx": (332, 291),
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, None), "readlinkat": (267, 78), "getdents": (78, None), "getdents64": (217, 61),
    "getcwd": (79, 17), "unlink": (87, None), "unlinkat": (263, 35),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "truncate": (76, 45), "ftruncate": (77, 46), "fsync": (74, 82), "fdatasync": (75, 83), "fadvise64": (221, 223),
    "flock": (73, 32), "sendfile": (40, 71), "copy_file_range": (326, 285), "umask": (95, 166),
    # pipes and waiting
    "pipe": (22, None), "pipe2": (293, 59), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "eventfd2": (290, 19),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    # memory
    "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "madvise": (28, 233),
    "msync": (26, 227), "brk": (12, 214),
    # signals to oneself, and time
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "pause": (34, None),
    "alarm": (37, None), "setitimer": (38, 103), "getitimer": (36, 102), "restart_syscall": (219, 128),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165),
    # questions about the process and the machine
    "sysinfo": (99, 179), "uname": (63, 160), "getrlimit": (97, 163), "getpid": (39, 172), "gettid": (186, 178),
    "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156), "getgroups": (115, 158),
    "getresuid": (118, 148), "getresgid": (120, 150), "getrandom": (318, 278), "getcpu": (309, 168),
    # threads
    "futex": (202, 98), "set_robust_list": (273, 99), "get_robust_list": (274, 100), "rseq": (334, 293),
    "membarrier": (324, 283), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "set_tid_address": (218, 96), "arch_prctl": (158, None), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
_CLONE, _CLONE3, _KILL, _TKILL, _TGKILL = (56, 220), (435, 435), (62, 129), (200, 130), (234, 131)
_PRCTL, _PRLIMIT, _IOCTL, _FCNTL, _CAPSET, _SECCOMP = (157, 167), (302, 261), (16, 29), (72, 25), (126, 91), (317, 277)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the tables, name in the kernel

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL_PROCESS, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_A_THREAD = 0x00010000 | 0x00000100  # CLONE_THREAD, CLONE_VM
_NAMING = (15, 16, 0x53564D41)  # prctl: name of a thread; name of a piece of memory (the C library's allocator)
_HARMLESS_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, how much is there to read ...
_HARMLESS_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1031, 1032)  # not: who is sent signals about a file
_NO_NEW_PRIVILEGES, _DIE_WITH_PARENT = 38, 1  # prctl


_Code = list[tuple[int, int, int, int]]


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.c_void_p))


def available() -> bool:
    """Whether there is a filter for this system."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES and ctypes.sizeof(ctypes.c_void_p) == 8


def give_up_privileges(parent: int) -> None:
    """No way to more rights than now, no capabilities (of the superuser), and the end when the parent ends.

    Raises
    ------
    OSError
        If the parent has ended already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    libc.prctl(_DIE_WITH_PARENT, ctypes.c_ulong(9), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if os.getppid() != parent:
        raise OSError("the judge has ended")
    if platform.machine() in _ARCHITECTURES:
        column, _ = _ARCHITECTURES[platform.machine()]
        version = (ctypes.c_uint32 * 2)(0x20080522, 0)
        none = (ctypes.c_uint32 * 6)()
        libc.syscall(ctypes.c_long(_CAPSET[column]), version, none)


def restrict() -> bool:
    """Install the filter on all threads. Call :func:`give_up_privileges` first.

    Returns
    -------
    bool
        Whether it worked; False where there is no seccomp.
    """
    if not available():
        return False
    column, architecture = _ARCHITECTURES[platform.machine()]
    program = _filter(column, architecture, os.getpid())
    instructions = (_Instruction * len(program))(*(_Instruction(*line) for line in program))
    header = _Program(len(program), ctypes.cast(instructions, ctypes.c_void_p))
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    set_filter, all_threads = ctypes.c_uint(1), ctypes.c_uint(1)
    return bool(syscall(ctypes.c_long(_SECCOMP[column]), set_filter, all_threads, ctypes.byref(header)) == 0)


def _filter(column: int, architecture: int, process: int) -> _Code:
    """The program: (code, how many instructions to skip if so, if not, constant)."""
    program: _Code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if column == 0:  # the numbers of x32, a second door to the same calls
        program += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL_PROCESS)]
    for numbers in _FREE.values():
        number = numbers[column]
        if number is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    program += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ENOSYS)]
    program += _only_if(_CLONE[column], 0, (_A_THREAD,), mask=_A_THREAD)
    for kill in (_KILL, _TKILL, _TGKILL):
        program += _only_if(kill[column], 0, (process,))
    program += _only_if(_PRCTL[column], 0, _NAMING)
    program += _only_if(_PRLIMIT[column], 0, (0, process))
    program += _only_if(_IOCTL[column], 1, _HARMLESS_IOCTLS)
    program += _only_if(_FCNTL[column], 1, _HARMLESS_FCNTLS)
    return [*program, (_RETURN, 0, 0, _EPERM)]


def _only_if(number: int, argument: int, values: tuple[int, ...], mask: int | None = None) -> _Code:
    """Allow a call if the lower half of one argument is among ``values``; refuse it otherwise."""
    body: _Code = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
    if mask is not None:
        body.append((_AND, 0, 0, mask))
    for value in values:
        body += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    body.append((_RETURN, 0, 0, _EPERM))
    return [(_EQUAL, 0, len(body), number), *body]
