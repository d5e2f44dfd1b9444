"""Gradients of weights: for every kernel position the sum over all pixels of input times output gradient.

As in the forward kernel, one number of the input is multiplied with 16 of the gradient at once, and sums stay in
registers; but here the sum goes over pixels, and the tile is made of input channels: ``rows`` of them times ``vectors``
blocks of 16 outputs. A few rows of the image at a time go through all input channels and kernel positions of a task
while they are in the cache.
"""

from __future__ import annotations

from ..code import F32, I64, F32x16, Function
from ..record import FIRST, Fields
from ..target import Target
from ..tasks import begin

KERNEL_ARGUMENTS = ("row", "input", "gradient", "sums", "first", "last", "flags")


def gradient_kernel(name: str, target: Target, rows: int, vectors: int, step: int) -> str:
    """Add some lines of pixels to a tile of sums: (vectors, rows, 16).

    ``step`` is the distance of the inputs of neighbouring pixels, in bytes.
    """
    code = Function(name, [I64] * len(KERNEL_ARGUMENTS))
    row, source, gradient, sums, first, last, flags = code.arguments
    fields = Fields(code, row)
    input_lines, gradient_lines, width = fields["input_lines"], fields["gradient_lines"], fields["width"]
    plane = fields["gradient_plane"]
    tile = [(v, r) for v in range(vectors) for r in range(rows)]
    parts = {place: code.variable(F32x16) for place in tile}
    with code.loop(last, first) as line:
        inputs = source + code.load(I64, input_lines + line * 8)
        outputs = gradient + code.load(I64, gradient_lines + line * 8)
        with code.loop(width) as x:
            w = [code.load(F32x16, outputs + plane * v + x * 64) for v in range(vectors)]
            for r in range(rows):
                number = code.splat(code.load(F32, inputs + x * step + r * 4))
                for v in range(vectors):
                    parts[v, r].set(code.fma(number, w[v], parts[v, r].get()))
    places = {place: sums + 64 * number for number, place in enumerate(tile)}
    with code.when((flags & FIRST).equals(0)):
        for place in tile:
            parts[place].set(parts[place].get() + code.load(F32x16, places[place]))
    for place in tile:
        code.store(parts[place].get(), places[place])
    return code.finish()


def weight_gradient(name: str, target: Target) -> str:
    """One group of outputs, some blocks of inputs, and some lines of pixels: a part of the sum.

    The sums lie as (parts, groups, blocks of inputs, kernel positions, pieces of a block, tile).
    """
    code, fields, row, task, _ = begin(name)
    parts, blocks, per_task = fields["parts"], fields["channels"], fields["channels_per_task"]
    tasks = (blocks + per_task - 1) // per_task
    part, rest = task % parts, task // parts
    first_block, group = rest % tasks * per_task, rest // tasks
    last_block = code.least(first_block + per_task, blocks)
    first_line = part * fields["lines_per_part"]
    last_line = code.least(first_line + fields["lines_per_part"], fields["lines"])
    kernel, taps, tap_places, chunk = (fields[n] for n in ("kernel", "taps", "tap_places", "chunk"))
    sums_of_tile, plane = fields["tile_sums"], fields["input_plane"]
    gradient = fields["gradient"] + group * fields["group_blocks"] * fields["gradient_plane"]
    sums = fields["output"] + (part * fields["groups"] + group) * blocks * taps * sums_of_tile
    with code.loop(last_line, first_line, step=chunk) as line:
        end = code.least(line + chunk, last_line)
        flags = code.select(line.equals(first_line), code.constant(I64, FIRST), code.constant(I64, 0))
        with code.loop(last_block, first_block) as block, code.loop(taps) as tap:
            code.call(
                kernel,
                row,
                fields["input"] + block * plane + code.load(I64, tap_places + tap * 8),
                gradient,
                sums + (block * taps + tap) * sums_of_tile,
                line,
                end,
                flags,
            )
    return code.finish()


def unpack_gradient(name: str, target: Target, rows: int, vectors: int) -> str:
    """Add up the parts of one block of inputs of one group of outputs, and put them where the weights have theirs.

    That is (O, C, k, k), so that for one output the numbers lie side by side, and are written in this order. Tables
    tell where they come from, for the first output of a tile, and for every block where they go to, counted from the
    first weight of an output; -1 for nowhere.
    """
    code, fields, _, task, _ = begin(name)
    blocks, entries, parts = fields["channels"], fields["entries"], fields["parts"]
    group, block = task // blocks, task % blocks
    size = fields["taps"] * fields["tile_sums"]
    spacing = fields["groups"] * blocks * size
    sources, table, stride = fields["input_lines"], fields["table"] + block * entries * 8, fields["lane_stride"]
    sums, adds = fields["input"] + (group * blocks + block) * size, fields["accumulate"].differs(0)
    for v in range(vectors):
        first = (group * vectors + v) * 16
        with code.loop(code.least(code.most(fields["out_channels"] - first, 0), 16)) as lane:
            source = sums + lane * 4 + v * rows * 64
            place = fields["output"] + (first + lane) * stride
            with code.loop(entries) as entry:
                distance = code.load(I64, table + entry * 8)
                at = source + code.load(I64, sources + entry * 8)
                with code.when(distance >= 0):
                    total = code.variable(F32)
                    total.set(code.load(F32, at))
                    with code.loop(parts, 1) as part:
                        total.set(total.get() + code.load(F32, at + part * spacing))
                    with code.when(adds):
                        total.set(total.get() + code.load(F32, place + distance))
                    code.store(total.get(), place + distance)
    return code.finish()
