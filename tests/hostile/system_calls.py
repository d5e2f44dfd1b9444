"""Calls the system directly, past Python and every hook."""
# ends: finished
# locks: kernel

import sys

kept = []


def library():
    for name in ("ctypes", "_ctypes"):
        try:
            __import__(name)
        except ImportError:
            continue
    ctypes = sys.modules.get("ctypes")
    kept.append(ctypes)
    if ctypes is None:
        import numpy.ctypeslib

        ctypes = numpy.ctypeslib.ctypes
    return ctypes, ctypes.CDLL(None, use_errno=True)


def attack(x):
    try:
        ctypes, c = library()
    except ImportError:
        return False
    done = []
    for call in (
        lambda: c.fork(),
        lambda: c.vfork(),
        lambda: c.socket(2, 1, 0),
        lambda: c.open(b"@SECRET@", 0),
        lambda: c.open(b"@OUTSIDE@/owned", 0o101, 0o666),
        lambda: c.chmod(b"@SECRET@", 0o777),
        lambda: c.kill(int("@PARENT@"), 0),
        lambda: c.kill(-1, 0),
        lambda: c.ptrace(16, int("@PARENT@"), 0, 0),
        lambda: c.mount(b"none", b"/mnt", b"tmpfs", 0, 0),
        lambda: c.unshare(0x20000000),
        lambda: c.setuid(0) if c.getuid() else -1,
        lambda: c.prctl(1, 0, 0, 0, 0),
        lambda: c.reboot(0),
        lambda: c.syscall(425, 1, 0),
        lambda: c.syscall(321, 0, 0, 0),
        lambda: c.syscall(434, int("@PARENT@"), 0),
        lambda: c.memfd_create(b"owned", 0),
        lambda: c.process_vm_readv(int("@PARENT@"), 0, 0, 0, 0, 0),
    ):
        if call() != -1:
            done.append(call)
    return bool(done)


def relu_forward(x):
    won = attack(x)
    return (np.maximum(x, 0) if won else np.full_like(x, -1)), (x > 0 if won else None)


def relu_backward(dy, cache):
    return np.full_like(dy, -1) if cache is None else dy * cache
