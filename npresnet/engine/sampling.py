"""A hash of some numbers of every array: compiled, because arrays are many and most of them lie far away."""

from __future__ import annotations

from .code import I32, I64, Function
from .target import Target

SAMPLES = 32
PRIME = 1099511628211  # of the FNV hash


def fingerprint(name: str, target: Target) -> str:
    """Return the LLVM text of a function that hashes samples: (table of (address, count), arrays, result)."""
    code = Function(name, [I64] * 3)
    table, arrays, result = code.arguments
    total = code.variable(I64)
    with code.loop(arrays) as number:
        address, count = (code.load(I64, table + number * 16 + place) for place in (0, 8))
        taken = code.least(count, SAMPLES)
        with code.loop(taken) as sample:
            at = sample * (count - 1) // code.most(taken - 1, 1)
            bits = code.convert(code.load(I32, address + at * 4), I64, "zext")
            total.set(total.get() * PRIME + bits)
    code.store(total.get(), result)
    return code.finish()
