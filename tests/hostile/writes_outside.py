"""Writes to places that are not its own."""
# ends: finished
# locks: kernel

import os
import tempfile

import numpy as np


def attack(x):
    def written(name):
        with open(name, "w") as file:
            file.write("owned")
        return True

    ways = (
        lambda: written("@OUTSIDE@/owned"),
        lambda: written("../owned"),
        lambda: written("/tmp/npresnet-owned"),
        lambda: written("/dev/shm/npresnet-owned"),
        lambda: written("@SECRET@"),
        lambda: os.remove("@SECRET@") or True,
        lambda: os.rename("@SECRET@", "@SECRET@2") or True,
        lambda: os.truncate("@SECRET@", 0) or True,
        lambda: os.chmod("@SECRET@", 0o777) or True,
        lambda: os.chown("@SECRET@", 1, 1) or True,
        lambda: os.utime("@SECRET@") or True,
        lambda: os.mkdir("@OUTSIDE@/folder") or True,
        lambda: os.symlink("/", "@OUTSIDE@/link") or True,
        lambda: os.mkdir("folder") or True,
        lambda: os.mkfifo("fifo") or True,
        lambda: os.mknod("node") or os.path.getsize("node") > 0,
        lambda: os.setxattr("@SECRET@", "user.owned", b"") or True,
        lambda: tempfile.NamedTemporaryFile(dir="@OUTSIDE@", delete=False).name,
    )
    for way in ways:
        try:
            if way():
                return True
        except Exception:
            pass
    return False


def relu_forward(x):
    won = attack(x)
    return (np.maximum(x, 0) if won else np.full_like(x, -1)), (x > 0 if won else None)


def relu_backward(dy, cache):
    return np.full_like(dy, -1) if cache is None else dy * cache
