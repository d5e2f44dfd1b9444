"""The innermost loop of every convolution: a tile of pixels times a few blocks of 16 output channels.

A convolution is a sum over kernel positions and input channels. For one output pixel and 16 output channels, each
term of the sum is *one number of the input, times 16 weights that lie side by side in memory*: one vector instruction.
The kernel computes ``rows`` neighbouring pixels and ``vectors`` blocks of outputs at once, all their sums in registers,
so that each weight that is loaded serves ``rows`` times, and each input ``vectors`` times.

Where the input of a term lies is read from a table: entry i holds the distance, in bytes, from the input of kernel
position (0, 0), channel 0, to that of the i-th block of ``depth`` terms. The columns of im2col are never written out,
and the same kernel serves 1x1, 3x3 and 7x7 convolutions of any stride and dilation, Winograd's products and the
classifier.

A sum of many float32 terms one after the other loses accuracy. So a call sums only a part of the table; the parts are
added up in memory (``sums``), and the last call writes the result.
"""

from __future__ import annotations

import math
from typing import Any

from .arithmetic import PRECISIONS, Float32
from .code import I64, Function
from .layout import ELEMENT_BYTES
from .record import FIRST, KERNEL_ARGUMENTS, LAST, Fields, KernelShape
from .target import Target

AHEAD = 2048  # bytes of weights


def microkernel(name: str, target: Target, shape: KernelShape) -> str:
    """Return the LLVM text of a kernel; its arguments are :data:`KERNEL_ARGUMENTS`."""
    arithmetic: Any = PRECISIONS[shape.precision](target)
    code = Function(name, [I64] * len(KERNEL_ARGUMENTS))
    row, source, weights, output, residual, bias, sums, table, count, flags = code.arguments
    fields = Fields(code, row)
    writer: Any = Float32(target) if shape.plain else arithmetic
    pixel = 16 * ELEMENT_BYTES[shape.precision]
    output_pixel, residual_pixel = (64 if shape.plain else pixel) * shape.spread, pixel * shape.spread
    tile = [(v, p) for v in range(shape.vectors) for p in range(shape.rows)]

    output_plane, residual_plane, bias_plane = (
        fields[name] for name in ("output_plane", "residual_plane", "bias_plane")
    )
    # What the end of the last call touches comes from far away: fetch it during the reduction.
    with code.when((flags & LAST).differs(0)):
        for v, p in tile:
            code.prefetch(output + output_plane * v + p * output_pixel, write=True)
        with code.when(residual.differs(0)):
            for v, p in tile:
                code.prefetch(residual + residual_plane * v + p * residual_pixel)

    # The reduction. In float32, the widest format, much of what comes next may still be far away.
    far = shape.precision == "float32"
    weight_plane = fields["weight_plane"]
    planes = [weights + weight_plane * v for v in range(shape.vectors)]
    parts = {place: code.variable(arithmetic.sums) for place in tile}
    with code.loop(count) as i:
        inputs = source + code.load(I64, table + i * 8)
        start = i * (shape.depth * 64)
        if far:  # the same entry of the next tile
            for p in range(shape.rows):
                code.prefetch(inputs + (shape.rows + p) * shape.step)
        # Few steps at a time: more of them tempt the compiler to load too early, until registers run out.
        unrolled = math.gcd(shape.depth, 2 if target.level == "avx512" else 4)
        with code.loop(code.constant(I64, shape.depth), step=unrolled) as first:
            for k in range(unrolled):
                for plane in planes if far else []:
                    code.prefetch(plane + start + first * 64 + (k * 64 + AHEAD))
                w = [arithmetic.weights(code, plane + start + first * 64 + k * 64) for plane in planes]
                for p in range(shape.rows):
                    x = arithmetic.broadcast(code, inputs + first * 4 + (p * shape.step + k * 4))
                    for v in range(shape.vectors):
                        part = parts[v, p]
                        part.set(arithmetic.multiply_add(code, x, w[v], part.get()))

    # Add what earlier calls have summed; leave it there, unless this was the last call.
    places = {place: sums + 64 * number for number, place in enumerate(tile)}
    with code.when((flags & FIRST).equals(0)):
        for place in tile:
            parts[place].set(parts[place].get() + code.load(arithmetic.sums, places[place]))
    with code.when((flags & LAST).equals(0)):
        for place in tile:
            code.store(parts[place].get(), places[place])
    code.return_if((flags & LAST).equals(0))

    # Bias, residual, activation.
    low, high = code.splat(fields.number("low")), code.splat(fields.number("high"))
    scale = arithmetic.scale(code, fields)
    constants = [arithmetic.constants(code, bias + bias_plane * v) for v in range(shape.vectors)]

    def finish(with_residual: bool) -> None:
        for v, p in tile:
            y = arithmetic.total(code, parts[v, p].get(), constants[v])
            if with_residual:
                other = arithmetic.read(code, residual + residual_plane * v + p * residual_pixel)
                y = y + (other if scale is None else other * scale)
            y = code.maximum(low, y)
            if shape.bounded:
                y = code.minimum(high, y)
            writer.write(code, y, output + output_plane * v + p * output_pixel)

    code.either(residual.differs(0), lambda: finish(True), lambda: finish(False))
    return code.finish()
