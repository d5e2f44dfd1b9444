"""Weights in the order in which the kernels read them, packed anew in every step because every step changes them.

The way back reads the same numbers with inputs and outputs exchanged and the kernel turned around; so one task serves
both, told by distances where it finds them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..code import F32, I64, F32x16, Function, Value
from ..target import Target
from ..tasks import begin
from ..winograd import Form, kernel_matrix


def _sixteen(code: Function, source: Value, stride: Value, lanes: Value, scratch: Value) -> Value:
    """Numbers at a distance from each other, one for each lane that stands for a channel."""
    result = code.variable(F32x16)

    def all_lanes() -> None:
        result.set(code.gather([source + stride * lane for lane in range(16)]))

    def some_lanes() -> None:
        code.store(code.constant(F32x16, 0), scratch)
        with code.loop(lanes) as lane:
            code.store(code.load(F32, source + stride * lane), scratch + lane * 4)
        result.set(code.load(F32x16, scratch))

    code.either(lanes.equals(16), all_lanes, some_lanes)
    return result.get()


def pack_weights(name: str, target: Target) -> str:
    """Some terms of the sum of one block of outputs: (terms, 16).

    A table tells for every term how far its weight is from the first one, in bytes; -1 means zero.
    """
    code, fields, _, task, scratch = begin(name)
    per_task, terms = fields["channels_per_task"], fields["entries"]
    parts = (terms + per_task - 1) // per_task
    block, first = task // parts, task % parts * per_task
    stride, table = fields["lane_stride"], fields["table"]
    lanes = code.least(fields["channels"] - block * 16, 16)
    source = fields["input"] + block * 16 * stride
    place = fields["output"] + block * terms * 64
    with code.loop(code.least(first + per_task, terms), first) as term:
        distance = code.load(I64, table + term * 8)

        def there(distance: Value = distance, term: Value = term) -> None:
            code.store(_sixteen(code, source + distance, stride, lanes, scratch), place + term * 64)

        def zero(term: Value = term) -> None:
            code.store(code.constant(F32x16, 0), place + term * 64)

        code.either(distance >= 0, there, zero)
    return code.finish()


def _combination(code: Function, coefficients: Sequence[float], values: Sequence[Value]) -> Value:
    """A sum with constant factors; there is at least one that is not zero."""
    total: Value | None = None
    for factor, value in zip(coefficients, values, strict=True):
        if factor == 0:
            continue
        if total is None:
            total = value if factor == 1 else value * float(factor)
        else:
            total = total + value if factor == 1 else code.fma(value, float(factor), total)
    assert total is not None
    return total


def pack_winograd(name: str, target: Target, tile: int, stride: int, turned: bool) -> str:
    """``G g G.T`` of some input channels of one block of 16 outputs: (products, blocks, channels, 16)."""
    code, fields, _, task, _ = begin(name)
    matrix = kernel_matrix(Form(tile, stride))
    per_task, channels = fields["channels_per_task"], fields["channels"]
    parts = (channels + per_task - 1) // per_task
    block, first = task // parts, task % parts * per_task
    lane, step = fields["lane_stride"], fields["channel_stride"]
    source = fields["input"] + block * 16 * lane
    place = fields["output"] + block * channels * 64
    with code.loop(code.least(first + per_task, channels), first) as channel:
        weights = source + channel * step
        taps = [code.gather([weights + tap * 4 + lane * number for number in range(16)]) for tap in range(9)]
        if turned:
            taps.reverse()
        columns = [[_combination(code, row, taps[c::3]) for row in matrix] for c in range(3)]
        for r in range(len(matrix)):
            for c, row in enumerate(matrix):
                value = _combination(code, row, [column[r] for column in columns])
                code.store(value, place + (r * len(matrix) + c) * fields["output_batch"] + channel * 64)
    return code.finish()
