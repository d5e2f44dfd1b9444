"""Limits that every Unix knows: memory, processor time, files. Set by the judged process itself, once and for good."""

from __future__ import annotations

import contextlib
import os
import resource

MARGIN = 1  # seconds between the signal that processor time is up and the end by force


def set_limits(memory_mb: int, cpu_seconds: float, file_mb: int, threads: bool) -> list[str]:
    """Limit this process and return what could be limited, in words.

    Parameters
    ----------
    memory_mb : int
        Beyond what is mapped now (the interpreter and NumPy).
    cpu_seconds : float
        Beyond what was used so far.
    file_mb : int
        The size of every file that is written.
    threads : bool
        Whether further threads may be started. If not, processes cannot be either, except by the superuser; the system
        does not tell the two apart here.
    """
    done = []
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(usage.ru_utime + usage.ru_stime + cpu_seconds) + 1
    wanted = {
        "memory": ("RLIMIT_AS", _mapped() + (memory_mb << 20), 0),
        "processor time": ("RLIMIT_CPU", cpu, MARGIN),
        "file size": ("RLIMIT_FSIZE", file_mb << 20, 0),
        "open files": ("RLIMIT_NOFILE", 64, 0),
        "core dumps": ("RLIMIT_CORE", 0, 0),
    }
    if not threads:
        wanted["processes"] = ("RLIMIT_NPROC", 0, 0)
    for name, (constant, soft, margin) in wanted.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            kind = getattr(resource, constant)
            highest = resource.getrlimit(kind)[1]
            if highest != resource.RLIM_INFINITY:
                soft = min(soft, highest)
            hard = soft + margin if highest == resource.RLIM_INFINITY else min(soft + margin, highest)
            resource.setrlimit(kind, (soft, hard))
            done.append(name)
    return done


def _mapped() -> int:
    """Bytes of address space in use; a generous guess where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1 << 30
