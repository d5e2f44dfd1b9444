"""Run a program, a table of steps, on several threads at once.

Every thread runs the same function: for each step it takes tasks, one after the other, from a counter that all share,
until none is left, and waits until the tasks of the others are done too. Whichever thread does a task, the task does
the same sums in the same order: results do not depend on the number of threads. A thread that comes late finds the
work done by the others.
"""

from __future__ import annotations

from .code import I64, Function
from .record import COUNTER_BYTES, RUN_ARGUMENTS, SIZE, Fields
from .target import Target

SPINS = 2000  # looks at a counter before the processor is offered to somebody else


def run(name: str, target: Target) -> str:
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
