"""Run a program, a table of steps, on several threads at once.

Every thread runs the same function: for each step it takes tasks, one after the other, from a counter that all share,
until none is left, and waits until the tasks of the others are done too. Whichever thread does a task, the task does
the same sums in the same order: results do not depend on the number of threads. A thread that comes late finds the
work done by the others.
"""

from __future__ import annotations

import ctypes
import functools
import sys

from .code import I64, Function
from .record import SIZE, Fields
from .target import Target

COUNTER_BYTES = 128  # two cache lines for each step, so that the counters do not disturb each other
SPINS = 2000  # looks at a counter before the processor is offered to somebody else
RUN_ARGUMENTS = ("program", "steps", "counters", "scratch", "give_way")


def generate(name: str, target: Target) -> str:
    """Return the LLVM text of the runner; its arguments are :data:`RUN_ARGUMENTS`."""
    code = Function(name, [I64] * len(RUN_ARGUMENTS))
    program, steps, counters, scratch, give_way = code.arguments
    with code.loop(steps) as step:
        row = program + step * (8 * SIZE)
        fields = Fields(code, row)
        function, tasks = fields["task"], fields["tasks"]
        taken = counters + step * COUNTER_BYTES
        done = taken + 64
        with code.forever() as leave_if:
            task = code.atomic_add(taken, 1)
            leave_if(task >= tasks)
            code.call(function, row, task, scratch)
            code.atomic_add(done, 1)
        looks = code.variable(I64)
        with code.forever() as leave_if:
            leave_if(code.atomic_load(done) >= tasks)
            if target.level in ("avx512", "avx2", "baseline"):
                code.intrinsic_call("llvm.x86.sse2.pause")
            looks.set(looks.get() + 1)
            with code.when((looks.get() >= SPINS) & give_way.differs(0)):
                code.call(give_way)
                looks.set(code.constant(I64, 0))
    return code.finish()


@functools.cache
def give_way() -> int:
    """Return the address of the system's function that lets other threads run, or 0."""
    if sys.platform == "win32":
        return ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value or 0
    function = getattr(ctypes.CDLL(None), "sched_yield", None)
    return (ctypes.cast(function, ctypes.c_void_p).value or 0) if function else 0
