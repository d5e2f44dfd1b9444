"""BatchNorm and activation of the training step, forward and backward, as compiled tasks.

Both directions need sums over all pixels of a channel before the first pixel can be written, so each takes two steps.
A task works on one block of 16 channels in some of the images, its *part*. The first step leaves the sums of every
part; in the second, every task adds up those of its block, in the same order, and then goes through its own pixels.

Sums of a row of pixels are float32, sums of rows float64. For the variance, the first pixel of the block is subtracted
from all, so that squares stay small where the mean is large.
"""

from __future__ import annotations

from ..code import F32, F64, F32x16, F64x16, Function, Value
from ..record import Fields
from ..target import Target
from ..tasks import begin

SUMS_BYTES = 2 * 16 * 8  # of a part: two sums for each channel
STATISTICS_BYTES = 4 * 16 * 4  # of a block: mean, 1 / deviation, gamma / deviation, beta
CHAINS = 4  # sums that are added to in turn, because an addition takes as many cycles


class _Part:
    """The block of channels and the images of a task."""

    def __init__(self, code: Function, fields: Fields, task: Value) -> None:
        self.code, self.fields = code, fields
        self.parts = fields["parts"]
        self.part, self.block = task % self.parts, task // self.parts
        self.first = self.part * fields["images_per_part"]
        self.last = code.least(self.first + fields["images_per_part"], fields["images"])
        self.lanes = code.least(fields["channels"] - self.block * 16, 16)
        self.height, self.width = fields["height"], fields["width"]
        self.statistics = fields["statistics"] + self.block * STATISTICS_BYTES

    def row(self, name: str, image: Value, y: Value) -> Value:
        """Address of the first pixel of a row of one of the maps."""
        fields = self.fields
        place = fields[name] + self.block * fields[f"{name}_plane"]
        return place + image * fields[f"{name}_image"] + y * fields[f"{name}_row"]

    def channels(self, name: str, scratch: Value) -> Value:
        """Numbers of the block's channels from an array (C,); 0 for lanes without a channel."""
        code, source = self.code, self.fields[name] + self.block * 64
        code.store(code.constant(F32x16, 0), scratch)
        with code.loop(self.lanes) as lane:
            code.store(code.load(F32, source + lane * 4), scratch + lane * 4)
        return code.load(F32x16, scratch)

    def kept(self, image: Value) -> Value:
        """The factor of an image, in all lanes."""
        return self.code.splat(self.code.load(F32, self.fields["kept"] + image * 4))

    def leave(self, first: Value, second: Value) -> None:
        """Write the sums of this part."""
        place = self.fields["partials"] + (self.block * self.parts + self.part) * SUMS_BYTES
        self.code.store(first, place)
        self.code.store(second, place + SUMS_BYTES // 2)

    def totals(self) -> tuple[Value, Value]:
        """The sums of all parts."""
        code, place = self.code, self.fields["partials"] + self.block * self.parts * SUMS_BYTES
        first, second = code.variable(F64x16), code.variable(F64x16)
        with code.loop(self.parts) as part:
            first.set(first.get() + code.load(F64x16, place + part * SUMS_BYTES))
            second.set(second.get() + code.load(F64x16, place + part * SUMS_BYTES + SUMS_BYTES // 2))
        return first.get(), second.get()

    def pixels(self) -> Value:
        """How many there are in all images, float64 in all lanes."""
        count = self.fields["images"] * self.height * self.width
        return self.code.splat(self.code.convert(count, F64, "sitofp"))


def _wide(code: Function, x: Value) -> Value:
    return code.convert(x, F64x16, "fpext")


def _narrow(code: Function, x: Value) -> Value:
    return code.convert(x, F32x16, "fptrunc")


def _sum_rows(part: _Part, terms: object) -> None:
    """Add up two numbers for every pixel; ``terms(rows, x)`` returns them, given the rows' addresses."""
    code = part.code
    first, second = code.variable(F64x16), code.variable(F64x16)
    with code.loop(part.last, part.first) as image, code.loop(part.height) as y:
        chains = [(code.variable(F32x16), code.variable(F32x16)) for _ in range(CHAINS)]
        of_pixel = terms(image, y)  # type: ignore[operator]

        def add(chain: int, x: Value, of_pixel=of_pixel, chains=chains) -> None:  # type: ignore[no-untyped-def]
            for total, term in zip(chains[chain], of_pixel(x), strict=True):
                total.set(total.get() + term)

        whole = part.width / CHAINS * CHAINS
        with code.loop(whole, step=CHAINS) as x:
            for chain in range(CHAINS):
                add(chain, x + chain)
        with code.loop(part.width, whole) as x:
            add(0, x)
        for total, own in zip((first, second), zip(*chains, strict=True), strict=True):
            a, b, c, d = (chain.get() for chain in own)
            total.set(total.get() + _wide(code, (a + b) + (c + d)))
    part.leave(first.get(), second.get())


def batch_statistics(name: str, target: Target) -> str:
    """Sums of ``x - s`` and its squares over a part, where s is the first pixel of all."""
    code, fields, _, task, _ = begin(name)
    part = _Part(code, fields, task)
    shift = code.load(F32x16, fields["input"] + part.block * fields["input_plane"])

    def terms(image: Value, y: Value):  # type: ignore[no-untyped-def]
        row = part.row("input", image, y)

        def of_pixel(x: Value) -> tuple[Value, Value]:
            distance = code.load(F32x16, row + x * 64) - shift
            return distance, distance * distance

        return of_pixel

    _sum_rows(part, terms)
    return code.finish()


def normalize(name: str, target: Target, held: bool, with_residual: bool, with_drops: bool) -> str:
    """``activation(kept (gamma (x - mean) / deviation + beta) + residual)``; keeps the statistics for the way back.

    With ``held`` statistics the running ones are used, and stay as they are. ``kept`` is a factor for each image, of
    stochastic depth.
    """
    code, fields, _, task, scratch = begin(name)
    part = _Part(code, fields, task)
    eps = code.convert(code.splat(fields.number("eps")), F64x16, "fpext")
    if held:
        mean = _wide(code, part.channels("running_mean", scratch))
        variance = _wide(code, part.channels("running_var", scratch))
    else:
        shift = code.load(F32x16, fields["input"] + part.block * fields["input_plane"])
        total, squares = part.totals()
        distance = total / part.pixels()
        mean = _wide(code, shift) + distance
        variance = squares / part.pixels() - distance * distance
        variance = code.maximum(code.constant(F64x16, 0), variance)
    inverse = code.constant(F64x16, 1) / code.sqrt(variance + eps)
    gamma, beta = part.channels("gamma", scratch), part.channels("beta", scratch)
    scale, inverse = _narrow(code, _wide(code, gamma) * inverse), _narrow(code, inverse)
    mean_32 = _narrow(code, mean)
    with code.when(part.part.equals(0)):
        for number, value in enumerate((mean_32, inverse, scale, beta)):
            code.store(value, part.statistics + number * 64)
        if not held:
            pixels, momentum = part.pixels(), code.splat(fields.number("momentum"))
            unbiased = _narrow(code, variance * (pixels / (pixels - 1)))
            keep = code.constant(F32x16, 1) - momentum
            for running, new in (("running_mean", mean_32), ("running_var", unbiased)):
                code.store(keep * part.channels(running, scratch) + momentum * new, scratch)
                with code.loop(part.lanes) as lane:
                    place = fields[running] + part.block * 64 + lane * 4
                    code.store(code.load(F32, scratch + lane * 4), place)
    _write_normalized(part, mean_32, scale, beta, with_residual, with_drops)
    return code.finish()


def normalize_again(name: str, target: Target, with_residual: bool, with_drops: bool) -> str:
    """The same as :func:`normalize`, with the statistics that it has kept."""
    code, fields, _, task, _ = begin(name)
    part = _Part(code, fields, task)
    saved = _Saved(part)
    _write_normalized(part, saved.mean, saved.scale, saved.beta, with_residual, with_drops)
    return code.finish()


def _write_normalized(
    part: _Part, mean: Value, scale: Value, beta: Value, with_residual: bool, with_drops: bool
) -> None:
    code, fields = part.code, part.fields
    low, high = code.splat(fields.number("low")), code.splat(fields.number("high"))
    with code.loop(part.last, part.first) as image, code.loop(part.height) as y:
        source, place = part.row("input", image, y), part.row("output", image, y)
        residual = part.row("residual", image, y) if with_residual else None
        kept = part.kept(image) if with_drops else None
        with code.loop(part.width) as x:
            result = code.fma(code.load(F32x16, source + x * 64) - mean, scale, beta)
            if kept is not None:
                result = result * kept
            if residual is not None:
                result = result + code.load(F32x16, residual + x * 64)
            code.store(code.minimum(high, code.maximum(low, result)), place + x * 64)


class _Saved:
    """What :func:`normalize` has kept of a block."""

    def __init__(self, part: _Part) -> None:
        load = part.code.load
        self.mean, self.inverse, self.scale, self.beta = (
            load(F32x16, part.statistics + number * 64) for number in range(4)
        )

    def passed(self, part: _Part, where: str, z: Value, output: Value | None, dy: Value) -> Value:
        """The gradient where the activation let its input pass: told by its output, or by its input made anew."""
        code, fields = part.code, part.fields
        if where == "everywhere":
            return dy
        value = output if output is not None else code.fma(z - self.mean, self.scale, self.beta)
        inside = (value > code.splat(fields.number("low"))) & (value < code.splat(fields.number("high")))
        return code.select(inside, dy, code.constant(F32x16, 0))


def gradient_sums(name: str, target: Target, where: str, with_drops: bool) -> str:
    """Sums of the gradient g before the activation, and of ``g (x - mean)``, over a part.

    ``where`` does the activation let a gradient pass: ``everywhere``, where its ``input`` is between the bounds, or,
    if there was a residual, its ``output``. In the last case g is also written over the gradient of the output, because
    it is the gradient of the residual too.
    """
    code, fields, _, task, _ = begin(name)
    part = _Part(code, fields, task)
    saved = _Saved(part)

    def terms(image: Value, y: Value):  # type: ignore[no-untyped-def]
        gradient, before = part.row("gradient", image, y), part.row("input", image, y)
        after = part.row("output", image, y) if where == "output" else None
        kept = part.kept(image) if with_drops else None

        def of_pixel(x: Value) -> tuple[Value, Value]:
            z = code.load(F32x16, before + x * 64)
            output = code.load(F32x16, after + x * 64) if after is not None else None
            g = saved.passed(part, where, z, output, code.load(F32x16, gradient + x * 64))
            if where == "output":
                code.store(g, gradient + x * 64)
            if kept is not None:
                g = g * kept
            return g, g * (z - saved.mean)

        return of_pixel

    _sum_rows(part, terms)
    return code.finish()


def normalize_gradient(name: str, target: Target, held: bool, where: str, with_drops: bool) -> str:
    """The gradient of the normalisation's input, written over the input; and those of gamma and beta.

    ``gamma / deviation (g - mean(g) - (x - mean) / deviation^2 mean(g (x - mean)))``, and with ``held`` statistics,
    which do not depend on the input, only the first term.
    """
    code, fields, _, task, scratch = begin(name)
    part = _Part(code, fields, task)
    saved = _Saved(part)
    total, product = part.totals()
    inverse = _wide(code, saved.inverse)
    gradients = (
        ("gamma_gradient", "accumulate", product * inverse),
        ("beta_gradient", "accumulate_beta", total),
    )
    for field, flag, value in gradients:
        address, adds = fields[field], fields[flag].differs(0)
        with code.when(part.part.equals(0) & address.differs(0)):
            code.store(_narrow(code, value), scratch)
            with code.loop(part.lanes) as lane:
                place = address + part.block * 64 + lane * 4
                before = code.select(adds, code.load(F32, place), code.constant(F32, 0))
                code.store(before + code.load(F32, scratch + lane * 4), place)
    mean_g = _narrow(code, total / part.pixels())
    slope = _narrow(code, product / part.pixels() * inverse * inverse)
    with code.loop(part.last, part.first) as image, code.loop(part.height) as y:
        gradient, before = part.row("gradient", image, y), part.row("input", image, y)
        kept = part.kept(image) if with_drops else None
        with code.loop(part.width) as x:
            z = code.load(F32x16, before + x * 64)
            g = saved.passed(part, where, z, None, code.load(F32x16, gradient + x * 64))
            if kept is not None:
                g = g * kept
            if not held:
                g = g - mean_g - (z - saved.mean) * slope
            code.store(saved.scale * g, before + x * 64)
    return code.finish()


def clear(name: str, target: Target) -> str:
    """Zeros in one image's block of channels, without its border."""
    code, fields, _, task, _ = begin(name)
    image, block = task % fields["images"], task // fields["images"]
    place = fields["output"] + block * fields["output_plane"] + image * fields["output_image"]
    with code.loop(fields["height"]) as y, code.loop(fields["width"]) as x:
        code.store(code.constant(F32x16, 0), place + y * fields["output_row"] + x * 64)
    return code.finish()


def clear_border(name: str, target: Target) -> str:
    """Zeros around one image's block of channels: everything but its pixels. ``padding`` is what lies before them."""
    code, fields, _, task, _ = begin(name)
    image, block = task % fields["images"], task // fields["images"]
    row, pixels, last = fields["output_row"], fields["width"] * 64, fields["height"] - 1
    first = fields["output"] + block * fields["output_plane"] + image * fields["output_image"]
    start = first - fields["padding"]

    def zeros(begin: Value, end: Value) -> None:
        with code.loop(end, begin, step=64) as place:
            code.store(code.constant(F32x16, 0), place)

    zeros(start, first)
    with code.loop(last) as y:
        zeros(first + y * row + pixels, first + (y + 1) * row)
    zeros(first + last * row + pixels, start + fields["output_image"])
    return code.finish()
