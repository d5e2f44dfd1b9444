"""Reads a file that was never meant for it, in many ways."""
# ends: finished

import os

import numpy as np


def attack(x):
    def linked(link):
        link("@SECRET@", "here")
        with open("here") as file:
            return file.read()

    def listed():
        with open("@SECRET@") as file:
            return file.read()

    ways = (
        listed,
        lambda: linked(os.symlink),
        lambda: linked(os.link),
        lambda: np.fromfile("@SECRET@", np.uint8).sum(),
        lambda: np.memmap("@SECRET@", np.uint8, "r").sum(),
        lambda: os.rename("@SECRET@", "here") or True,
        lambda: os.listdir(os.path.dirname("@SECRET@")),
        lambda: open("/proc/self/root/@SECRET@").read(),
        lambda: open("../" * 20 + "@SECRET@").read(),
        lambda: open("/etc/passwd").read(),
        lambda: os.chdir("/") or True,
        lambda: os.chroot("/") or True,
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
