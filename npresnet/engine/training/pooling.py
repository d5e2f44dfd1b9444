"""The pools of the training step: the way forward remembers what the way back needs."""

from __future__ import annotations

from ..code import F32, I8, I32, F32x16, I32x16, Value, vector
from ..target import Target
from ..tasks import begin

I8x16 = vector(I8)
OUTSIDE = 255  # stands for no position


def max_pool_indexed(name: str, target: Target, window: int) -> str:
    """One row of one block of channels: the largest number in each window, and its position there.

    Among equal numbers the first one counts, as in PyTorch; a NaN is larger than anything.
    """
    code, fields, _, task, _ = begin(name)
    rows, images = fields["out_height"], fields["images"]
    out_y, plane = task % rows, task // rows
    image, block = plane % images, plane // images
    height, width, stride, padding = (fields[n] for n in ("height", "width", "stride", "padding"))
    source = fields["input"] + block * fields["input_plane"] + image * fields["input_image"]
    place = fields["output"] + block * fields["output_plane"] + image * fields["output_image"]
    place = place + out_y * fields["output_row"]
    index = fields["index"] + (plane * rows + out_y) * fields["out_width"] * 16
    lowest = code.constant(F32x16, float("-inf"))
    with code.loop(fields["out_width"]) as out_x:
        best, position = lowest, code.constant(I32x16, OUTSIDE)
        for r in range(window):
            for c in range(window):
                y, x = out_y * stride - padding + r, out_x * stride - padding + c
                inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
                y, x = (code.least(code.most(at, 0), size - 1) for at, size in ((y, height), (x, width)))
                value = code.load(F32x16, source + y * fields["input_row"] + x * 64)
                value = code.select(inside, value, lowest)
                none_yet = position.equals(OUTSIDE) & code.splat(code.convert(inside, I32, "zext")).differs(0)
                better = (value > best) | (value.is_nan() & best.is_nan().equals(0)) | none_yet
                best = code.select(better, value, best)
                position = code.select(better, code.constant(I32x16, r * window + c), position)
        code.store(best, place + out_x * 64)
        code.store(code.convert(position, I8x16, "trunc"), index + out_x * 16)
    return code.finish()


def max_pool_gradient(name: str, target: Target, window: int) -> str:
    """One row of the input's gradient, of one block of channels: the sum over all windows that chose the pixel."""
    code, fields, _, task, _ = begin(name)
    rows, images = fields["height"], fields["images"]
    y, plane = task % rows, task // rows
    image, block = plane % images, plane // images
    stride, padding, out_height, out_width = (fields[n] for n in ("stride", "padding", "out_height", "out_width"))
    gradient = fields["gradient"] + block * fields["gradient_plane"] + image * fields["gradient_image"]
    index = fields["index"] + plane * out_height * out_width * 16
    place = fields["output"] + block * fields["output_plane"] + image * fields["output_image"]
    place = place + y * fields["output_row"]

    def windows(at: Value, size: Value) -> tuple[Value, Value]:
        """The first window over a pixel, and the one after the last."""
        first = code.most(at + padding - (window - 1) + (stride - 1), 0) // stride
        return first, code.least((at + padding) // stride + 1, size)

    first_y, last_y = windows(y, out_height)
    with code.loop(fields["width"]) as x:
        total = code.variable(F32x16)
        first_x, last_x = windows(x, out_width)
        with code.loop(last_y, first_y) as out_y, code.loop(last_x, first_x) as out_x:
            own = (y + padding - out_y * stride) * window + (x + padding - out_x * stride)
            chosen = code.load(I8x16, index + (out_y * out_width + out_x) * 16)
            is_own = chosen.equals(code.splat(code.convert(own, I8, "trunc")))
            dy = code.load(F32x16, gradient + out_y * fields["gradient_row"] + out_x * 64)
            total.set(total.get() + code.select(is_own, dy, code.constant(F32x16, 0)))
        code.store(total.get(), place + x * 64)
    return code.finish()


def spread_gradient(name: str, target: Target) -> str:
    """The gradient of a mean over all pixels: each gets its share. From (blocks, N, 16)."""
    code, fields, _, task, _ = begin(name)
    image, block = task % fields["images"], task // fields["images"]
    height, width = fields["height"], fields["width"]
    pixels = code.splat(code.convert(height * width, F32, "sitofp"))
    share = code.load(F32x16, fields["gradient"] + task * 64) / pixels
    place = fields["output"] + block * fields["output_plane"] + image * fields["output_image"]
    with code.loop(height) as y, code.loop(width) as x:
        code.store(share, place + y * fields["output_row"] + x * 64)
    return code.finish()
