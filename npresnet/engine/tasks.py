"""What one task of a step does: the loops around the micro-kernels, pools, and changes of layout.

A step of the plan is cut into tasks that do not depend on each other. The function of a step gets the address of its
row (:mod:`.record`), the number of the task and the thread's scratch memory.
"""

from __future__ import annotations

from typing import Any

from .arithmetic import PRECISIONS, Float32, rounded_to_bfloat16
from .code import F32, I8, I16, I32, I64, F32x16, Function, Value
from .layout import ELEMENT_BYTES
from .record import FIRST, LAST, TASK_ARGUMENTS, Fields
from .target import Target


def begin(name: str) -> tuple[Function, Fields, Value, Value, Value]:
    """Return the function of a task, its fields, and its arguments."""
    code = Function(name, [I64] * len(TASK_ARGUMENTS))
    row, task, scratch = code.arguments
    return code, Fields(code, row), row, task, scratch


def convolve(name: str, target: Target) -> str:
    """Some tiles of pixels by some groups of output channels, of one product of the batch of products.

    Parts of the reduction are the outer loop: their weights stay in the cache while all tiles use them.
    """
    code, fields, row, task, scratch = begin(name)
    tiles, per_task = fields["tiles"], fields["tiles_per_task"]
    groups, groups_per_task = fields["groups"], fields["groups_per_task"]
    tile_tasks = (tiles + per_task - 1) // per_task
    group_tasks = (groups + groups_per_task - 1) // groups_per_task
    first_tile = task % tile_tasks * per_task
    last_tile = code.least(first_tile + per_task, tiles)
    rest = task // tile_tasks
    first_group = rest % group_tasks * groups_per_task
    batch = rest // group_tasks

    kernel, blocks, bias, table = (fields[n] for n in ("kernel", "group_blocks", "bias", "table"))
    inputs = fields["input"] + batch * fields["input_batch"]
    all_weights = fields["weights"] + code.load(I64, fields["weight_products"] + batch * 8)
    outputs = fields["output"] + batch * fields["output_batch"]
    residual, entries, chunk = fields["residual"], fields["entries"], fields["chunk"]
    input_tiles, output_tiles, residual_tiles = (fields[f"{n}_tiles"] for n in ("input", "output", "residual"))
    group_inputs, weight_plane, weight_entry = (fields[n] for n in ("group_inputs", "weight_plane", "weight_entry"))
    output_plane, residual_plane, bias_plane = (fields[f"{n}_plane"] for n in ("output", "residual", "bias"))
    tile_sums = fields["tile_sums"]
    none = code.constant(I64, 0)

    with code.loop(code.least(first_group + groups_per_task, groups), first_group) as group:
        block = group * blocks
        source = inputs + code.load(I64, group_inputs + group * 8)
        weights = all_weights + block * weight_plane
        with code.loop(entries, step=chunk) as part:
            count = code.least(entries - part, chunk)
            is_first, is_last = part.equals(0), (part + count).equals(entries)
            flags = code.select(is_first, code.constant(I64, FIRST), none)
            flags = flags + code.select(is_last, code.constant(I64, LAST), none)
            with code.loop(last_tile, first_tile) as tile:
                at = residual + block * residual_plane + code.load(I64, residual_tiles + tile * 8)
                code.call(
                    kernel,
                    row,
                    source + code.load(I64, input_tiles + tile * 8),
                    weights + part * weight_entry,
                    outputs + block * output_plane + code.load(I64, output_tiles + tile * 8),
                    code.select(residual.equals(0), none, at),
                    bias + block * bias_plane,
                    scratch + (tile - first_tile) * tile_sums,
                    table + part * 8,
                    count,
                    flags,
                )
    return code.finish()


def interleave(name: str, target: Target, precision: str) -> str:
    """One row of an image (C, H, W) in float32: the channels of a pixel side by side, in the plan's number format.

    A kernel takes the channels of neighbouring pixels of a row as one long run.
    """
    code, fields, _, task, _ = begin(name)
    image, y = task // fields["height"], task % fields["height"]
    channels, width, plane = fields["channels"], fields["width"], fields["input_plane"]
    source = fields["input"] + image * fields["input_image"] + y * fields["input_row"]
    target_row = fields["output"] + image * fields["output_image"] + y * fields["output_row"]
    pixel = fields["output_plane"]  # bytes of one pixel
    scale, zero = fields.number("scale"), fields.number("zero")
    element = ELEMENT_BYTES[precision]
    with code.loop(channels) as channel, code.loop(width) as x:
        value = code.load(F32, source + channel * plane + x * 4)
        place = target_row + x * pixel + channel * element
        if precision == "float32":
            code.store(value, place)
        elif precision == "bfloat16":
            code.store(code.convert(rounded_to_bfloat16(code, value), I16, "trunc"), place)
        else:
            whole = code.intrinsic("llvm.rint.f32", F32, value * scale + zero)
            whole = code.minimum(code.constant(F32, 255), code.maximum(code.constant(F32, 0), whole))
            code.store(code.convert(code.convert(whole, I32, "fptosi"), I8, "trunc"), place)
    return code.finish()


def deinterleave(name: str, target: Target, precision: str) -> str:
    """One image's block of 16 channels, out of the blocked layout into (C, H, W) float32."""
    code, fields, _, task, _ = begin(name)
    image, block = task % fields["images"], task // fields["images"]
    source = fields["input"] + image * fields["input_image"] + block * fields["input_plane"]
    first = block * 16
    present = code.least(fields["channels"] - first, 16)
    height, width, plane = fields["height"], fields["width"], fields["output_plane"]
    place = fields["output"] + image * fields["output_image"] + first * plane
    scale, zero = fields.number("scale"), fields.number("zero")
    input_row, element = fields["input_row"], ELEMENT_BYTES[precision]
    with code.loop(present) as lane, code.loop(height) as y, code.loop(width) as x:
        address = source + y * input_row + x * (16 * element) + lane * element
        if precision == "float32":
            value = code.load(F32, address)
        elif precision == "bfloat16":
            bits = code.convert(code.load(I16, address), I32, "zext") << 16
            value = code.convert(bits, F32, "bitcast")
        else:
            value = (code.convert(code.convert(code.load(I8, address), I32, "zext"), F32, "uitofp") - zero) * scale
        code.store(value, place + lane * plane + (y * width + x) * 4)
    return code.finish()


def pool(name: str, target: Target, precision: str, kind: str, window: int) -> str:
    """One row of one block of channels: the largest number, or the mean, in each window.

    Where a window hangs over the border, its pixels are moved back inside: for a maximum, seeing a pixel twice changes
    nothing, and for a mean, those outside are left out.
    """
    code, fields, _, task, _ = begin(name)
    arithmetic: Any = PRECISIONS[precision](target)
    rows, images = fields["out_height"], fields["images"]
    out_y, plane = task % rows, task // rows
    image, block = plane % images, plane // images
    height, width, stride, padding = (fields[n] for n in ("height", "width", "stride", "padding"))
    source = fields["input"] + block * fields["input_plane"] + image * fields["input_image"]
    place = fields["output"] + block * fields["output_plane"] + image * fields["output_image"]
    place = place + out_y * fields["output_row"]
    input_row, pixel = fields["input_row"], 16 * ELEMENT_BYTES[precision]
    counts_padding = fields["counts_padding"].differs(0)
    zero = code.splat(fields.number("zero"))

    def inside(first: Value, offset: int, size: Value) -> tuple[Value, Value]:
        at = first + offset
        return code.least(code.most(at, 0), size - 1), (at >= 0) & (at < size)

    ys = [inside(out_y * stride - padding, r, height) for r in range(window)]
    with code.loop(fields["out_width"]) as out_x:
        xs = [inside(out_x * stride - padding, c, width) for c in range(window)]
        places = [(source + y * input_row + x * pixel, y_in & x_in) for y, y_in in ys for x, x_in in xs]
        values = [(arithmetic.read(code, address), is_inside) for address, is_inside in places]
        if kind == "max":
            result = code.largest(*(value for value, _ in values))
        else:
            result, count = code.constant(F32x16, 0), code.constant(F32, 0)
            for value, is_inside in values:
                result = result + code.select(is_inside, value, zero)
                count = count + code.convert(is_inside, F32, "uitofp")
            count = code.select(counts_padding, code.constant(F32, window * window), count)
            result = result / code.splat(count)
        arithmetic.write(code, result, place + out_x * pixel)
    return code.finish()


def global_pool(name: str, target: Target, precision: str, kind: str) -> str:
    """One block of channels of one image: the mean of all pixels, their maximum, or the mean of the two.

    Rows are summed apart, so that rounding errors stay small on large maps.
    """
    code, fields, _, task, _ = begin(name)
    arithmetic: Any = PRECISIONS[precision](target)
    image, block = task % fields["images"], task // fields["images"]
    source = fields["input"] + block * fields["input_plane"] + image * fields["input_image"]
    height, width, input_row = fields["height"], fields["width"], fields["input_row"]
    total, largest = code.variable(F32x16), code.variable(F32x16)
    largest.set(code.constant(F32x16, float("-inf")))
    with code.loop(height) as y:
        row = code.variable(F32x16)
        row.set(code.constant(F32x16, 0))
        with code.loop(width) as x:
            value = arithmetic.read(code, source + y * input_row + x * (16 * ELEMENT_BYTES[precision]))
            row.set(row.get() + value)
            largest.set(code.largest(largest.get(), value))
        total.set(total.get() + row.get())
    mean = total.get() / code.splat(code.convert(height * width, F32, "sitofp"))
    result = {"avg": mean, "max": largest.get(), "avgmax": (mean + largest.get()) * 0.5}[kind]
    writer: Any = arithmetic if precision != "int8" else Float32(target)
    if precision == "int8":  # the mean of whole numbers is not one: round it to the finer scale of the classifier
        result = result * code.splat(fields.number("scale")) + code.splat(fields.number("zero"))
        result = code.minimum(code.constant(F32x16, 255), code.maximum(code.constant(F32x16, 0), result))
        writer = arithmetic
    place = fields["output"] + block * fields["output_plane"] + image * fields["output_image"]
    writer.write(code, result, place)
    return code.finish()
