"""The two transforms of Winograd's algorithm as compiled tasks; :mod:`.winograd` says what they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arithmetic import PRECISIONS
from .code import F32, Function, Value, vector
from .layout import ELEMENT_BYTES
from .record import Fields
from .target import Target
from .tasks import begin
from .winograd import Form

AHEAD = 2 * 64  # bytes: two tiles


def _input_combination(code: Function, d: list[Value], form: Form) -> list[Value]:
    """``B.T d``: one number for each point."""
    if form.stride == 2:  # what the outer weights meet, and what the middle one does
        outer, middle = d[0::2], d[1::2]
        if form.tile == 4:
            return [*_of_pairs(code, outer, *form.points[::2]), *middle]
        return [outer[1] - outer[0], outer[1], outer[2] - outer[1], *middle]
    if form.tile == 2:
        return [d[2] - d[0], d[2] + d[1], d[2] - d[1], d[3] - d[1]]
    a, b = form.points[1::2]
    return [code.fma(d[2], -(a * a + b * b), code.fma(d[0], a * a * b * b, d[4])), *_of_pairs(code, d[1:], a, b)]


def _of_pairs(code: Function, d: list[Value], a: float, b: float) -> list[Value]:
    """The polynomials of a, -a, b, -b and infinity; a and -a share odd and even powers."""
    even_a, odd_a = code.fma(d[1], -b * b, d[3]), code.fma(d[0], -b * b, d[2])
    even_b, odd_b = code.fma(d[1], -a * a, d[3]), code.fma(d[0], -a * a, d[2])
    return [
        code.fma(odd_a, a, even_a), code.fma(odd_a, -a, even_a),
        code.fma(odd_b, b, even_b), code.fma(odd_b, -b, even_b),
        code.fma(d[2], -(a * a + b * b), code.fma(d[0], a * a * b * b, d[4])),
    ]  # fmt: skip


def _output_combination(code: Function, m: list[Value], form: Form) -> list[Value]:
    """``A.T m``: the powers 0 to m - 1 of the points; infinity belongs to the highest."""
    if form.stride == 2:
        outer, middle = m[: form.tile + 1], m[form.tile + 1 :]
        if form.tile == 4:
            sums = _powers_of_pairs(code, outer, *form.points[::2])
        else:
            sums = [outer[0] + outer[1], outer[1] + outer[2]]
        return [one + other for one, other in zip(sums, middle, strict=True)]
    if form.tile == 2:
        return [m[0] + m[1] + m[2], m[1] - m[2] + m[3]]
    first, *others = _powers_of_pairs(code, m[1:], *form.points[1::2])
    return [m[0] + first, *others]


def _powers_of_pairs(code: Function, m: list[Value], a: float, b: float) -> list[Value]:
    """The powers 0 to 3 of a, -a, b and -b, and infinity."""
    sum_a, sum_b = m[0] + m[1], m[2] + m[3]
    difference_a, difference_b = m[0] - m[1], m[2] - m[3]
    return [
        sum_a + sum_b,
        code.fma(difference_b, b, difference_a * a),
        code.fma(sum_b, b * b, sum_a * (a * a)),
        code.fma(difference_b, b**3, code.fma(difference_a, a**3, m[4])),
    ]


def _in_two_dimensions(
    code: Function,
    grid: list[list[Value]],
    combine: Callable[[Function, list[Value], Form], list[Value]],
    form: Form,
) -> list[list[Value]]:
    """Combine columns, then rows."""
    columns = [combine(code, list(column), form) for column in zip(*grid, strict=True)]
    return [combine(code, list(row), form) for row in zip(*columns, strict=True)]


def _lanes(target: Target) -> int:
    """Channels at a time: a tile of vectors has to fit the registers."""
    return {"avx512": 16, "avx2": 8}.get(target.level, 4)


class _Numbers:
    """Reads and writes some channels of a pixel of a map, as float32."""

    def __init__(self, target: Target, precision: str) -> None:
        self._arithmetic: Any = PRECISIONS[precision](target)
        self._kind = vector(F32, _lanes(target))
        self._whole = precision == "float32"  # bfloat16 only where a register holds all 16 channels

    def read(self, code: Function, pixel: Value, part: int) -> Value:
        if self._whole:
            return code.load(self._kind, pixel + part)
        number: Value = self._arithmetic.read(code, pixel)
        return number

    def write(self, code: Function, value: Value, pixel: Value, part: int) -> None:
        if self._whole:
            code.store(value, pixel + part)
        else:
            self._arithmetic.write(code, value, pixel)


def winograd_input(name: str, target: Target, precision: str, tile: int, stride: int) -> str:
    """``B.T d B`` for some rows of tiles of one image's block of channels: map -> (products, blocks, tiles, 16)."""
    code, fields, _, task, _ = begin(name)
    plane, tiles_y = _plane_and_rows(code, fields, task)
    images, columns, batch = fields["images"], fields["tile_columns"], fields["output_batch"]
    image, block = plane % images, plane // images
    row = fields["input_row"]
    source = fields["input"] + block * fields["input_plane"] + image * fields["input_image"]
    pixel, numbers = 16 * ELEMENT_BYTES[precision], _Numbers(target, precision)
    source = source - row - pixel  # tiles begin in the border
    place = fields["output"] + plane * fields["tile_rows"] * columns * 64
    lanes, form = _lanes(target), Form(tile, stride)
    span = form.span
    with code.loop(tiles_y[1], tiles_y[0]) as y, code.loop(columns) as x:
        corner = source + y * (tile * stride) * row + x * (tile * stride * pixel)
        to = place + (y * columns + x) * 64
        for product in range(span * span):  # as many streams are too many for the processor to foresee
            code.prefetch(to + batch * product + AHEAD, write=True)
        for r in range(span):
            for c in range(span - tile * stride, span):
                code.prefetch(corner + row * r + (tile * stride + c) * pixel)
        for part in range(0, 64, 4 * lanes):
            d = [[numbers.read(code, corner + row * r + c * pixel, part) for c in range(span)] for r in range(span)]
            for number, values in enumerate(_in_two_dimensions(code, d, _input_combination, form)):
                for c, value in enumerate(values):
                    code.store(value, to + batch * (number * span + c) + part)
    return code.finish()


def winograd_output(name: str, target: Target, precision: str, tile: int, stride: int, with_residual: bool) -> str:
    """``A.T m A``, bias, residual and activation, for some rows of tiles: (products, blocks, tiles, 16) -> map."""
    code, fields, _, task, _ = begin(name)
    plane, tiles_y = _plane_and_rows(code, fields, task)
    images, columns, batch = fields["images"], fields["tile_columns"], fields["input_batch"]
    image, block = plane % images, plane // images
    height, width, row = fields["height"], fields["width"], fields["output_row"]
    source = fields["input"] + plane * fields["tile_rows"] * columns * 64
    place = fields["output"] + block * fields["output_plane"] + image * fields["output_image"]
    residual_row = fields["residual_row"]
    residual_place = fields["residual"] + block * fields["residual_plane"] + image * fields["residual_image"]
    lanes, form = _lanes(target), Form(tile, stride)
    kind, span = vector(F32, lanes), form.span
    pixel, numbers = 16 * ELEMENT_BYTES[precision], _Numbers(target, precision)
    low, high = code.splat(fields.number("low"), lanes), code.splat(fields.number("high"), lanes)
    bias = fields["bias"] + block * 64
    grid = [(r, c) for r in range(tile) for c in range(tile)]

    with code.loop(tiles_y[1], tiles_y[0]) as y, code.loop(columns) as x:
        m_at = source + (y * columns + x) * 64
        top, left = y * tile, x * tile
        to = place + top * row + left * pixel
        added = residual_place + top * residual_row + left * pixel
        whole = (top + tile <= height) & (left + tile <= width)
        for product in range(span * span):
            code.prefetch(m_at + batch * product + AHEAD)
        for part in range(0, 64, 4 * lanes):
            m = [[code.load(kind, m_at + batch * (r * span + c) + part) for c in range(span)] for r in range(span)]
            values = _in_two_dimensions(code, m, _output_combination, form)
            offset = code.load(kind, bias + part)

            def finish(r: int, c: int, values: Any = values, offset: Value = offset, part: int = part) -> None:
                result = values[r][c] + offset
                if with_residual:
                    result = result + numbers.read(code, added + residual_row * r + c * pixel, part)
                numbers.write(code, code.minimum(high, code.maximum(low, result)), to + row * r + c * pixel, part)

            def all_of_them(finish: Callable[[int, int], None] = finish) -> None:
                for r, c in grid:
                    finish(r, c)

            def those_inside(finish: Callable[[int, int], None] = finish) -> None:
                for r, c in grid:
                    with code.when((top + r < height) & (left + c < width)):
                        finish(r, c)

            code.either(whole, all_of_them, those_inside)
    return code.finish()


def _plane_and_rows(code: Function, fields: Fields, task: Value) -> tuple[Value, tuple[Value, Value]]:
    """Which image's block of channels a task works on, and its first and last row of tiles."""
    rows, per_task = fields["tile_rows"], fields["rows_per_task"]
    tasks = (rows + per_task - 1) // per_task
    first = task % tasks * per_task
    return task // tasks, (first, code.least(first + per_task, rows))
