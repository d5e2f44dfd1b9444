"""The parts of the engine by themselves: code that Python writes, tiles, memory, Winograd's algebra, fingerprints."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrated import NETWORKS, calibrated, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding as llvm

from npresnet.engine import find_target, peak, peak_gflops, planning
from npresnet.engine import machine as machine_module
from npresnet.engine.code import F32, I8, I16, I32, I64, F32x16, Function, Value
from npresnet.engine.fingerprint import Fingerprint
from npresnet.engine.graph import Convolution
from npresnet.engine.layout import Map, Memory, blocks_of, zeroed
from npresnet.engine.machine import Machine, machine_for, native
from npresnet.engine.planning import Blueprint, divide
from npresnet.engine.target import Target
from npresnet.engine.tiling import split, starts, tile_shape
from npresnet.engine.winograd import KINDS, Form, kernel_matrix, transform_weights
from npresnet.engine.winograd_tasks import _in_two_dimensions, _input_combination, _output_combination


@pytest.fixture(params=["native", "avx2", "baseline"])
def target(request: pytest.FixtureRequest) -> Target:
    try:
        return find_target(request.param)
    except ValueError as error:
        pytest.skip(str(error))


# --------------------------------------------------------------------------------------------------- code from Python


def run(target: Target, write: Callable[..., None], *arguments: Any) -> None:
    """Write a function, compile it, and call it with integers and the addresses of arrays."""
    code = Function("tested", [I64] * len(arguments))
    write(code, *code.arguments)
    module = machine_for(target)._optimised(code.finish())
    engine = llvm.create_mcjit_compiler(module, target.machine())
    engine.finalize_object()
    values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    native(engine.get_function_address("tested"), len(arguments))(*values)


SPECIAL = [0.0, -0.0, 1.0, -2.5, 3e38, -3e38, 1e-40, np.inf, -np.inf, np.nan, 7.0, 0.1, -0.1, 2.0, 1e20, -1e20]
OPERATIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: a - b,
    "product": lambda a, b: a * b,
    "quotient": lambda a, b: a / b,
    "with a number": lambda a, b: a * 3.0 + 0.25 - b,
    "number first": lambda a, b: 0.5 * a,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_arithmetic_of_floats(name: str, target: Target) -> None:
    """To the last bit, as NumPy in float32: nothing is contracted or reordered."""
    operation = OPERATIONS[name]
    a, b = (np.array(list(values), np.float32) for values in zip(*itertools.product(SPECIAL, SPECIAL), strict=True))
    out = np.zeros_like(a)

    def write(code: Function, x: Value, y: Value, z: Value) -> None:
        with code.loop(code.constant(I64, len(a) * 4), step=64) as at:
            code.store(operation(code.load(F32x16, x + at), code.load(F32x16, y + at)), z + at)

    run(target, write, a, b, out)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(out, operation(a, b))
    assert out.dtype == np.float32


INTEGERS: dict[str, Callable[..., Any]] = {
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: a - b,
    "product": lambda a, b: a * b,
    "floor": lambda a, b: a // b,
    "rest": lambda a, b: a % b,
    "and": lambda a, b: a & b,
    "shifts": lambda a, b: ((a << 3) >> 5) + b,
    "constants": lambda a, b: (a + 12) * 5 - 7 + b + 0,
}


@pytest.mark.parametrize("name", INTEGERS)
def test_arithmetic_of_integers(name: str, target: Target) -> None:
    a, b = (np.array(values, np.int64) for values in ([0, 1, 7, 1 << 40, 12345678901], [1, 3, 7, 1 << 13, 987654321]))
    out = np.zeros(len(a) * len(b), np.int64)

    def write(code: Function, x: Value, y: Value, z: Value) -> None:
        with code.loop(code.constant(I64, len(a))) as i, code.loop(code.constant(I64, len(b))) as j:
            value = INTEGERS[name](code.load(I64, x + i * 8), code.load(I64, y + j * 8))
            code.store(value, z + (i * len(b) + j) * 8)

    run(target, write, a, b, out)
    np.testing.assert_array_equal(out.reshape(len(a), -1), INTEGERS[name](a[:, None], b))


def test_least_and_most_and_comparisons(target: Target) -> None:
    """Integers are signed in comparisons."""
    a, out = np.array([-5, -1, 0, 1, 1 << 40], np.int64), np.zeros((25, 8), np.int64)

    def write(code: Function, x: Value, z: Value) -> None:
        with code.loop(code.constant(I64, 5)) as i, code.loop(code.constant(I64, 5)) as j:
            p, q = code.load(I64, x + i * 8), code.load(I64, x + j * 8)
            truths = [p < q, p > q, p <= q, p >= q, p.equals(q), p.differs(q)]
            values = [code.least(p, q), code.most(p, q), *(code.convert(t, I64, "zext") for t in truths)]
            for number, value in enumerate(values):
                code.store(value, z + (i * 5 + j) * 64 + 8 * number)

    run(target, write, a, out)
    p, q = np.repeat(a, 5), np.tile(a, 5)
    expected = [np.minimum(p, q), np.maximum(p, q), p < q, p > q, p <= q, p >= q, p == q, p != q]
    np.testing.assert_array_equal(out, np.array(expected).T)


def test_maximum_and_minimum_of_nan(target: Target) -> None:
    """A bound gives way to NaN; the largest of two is NaN where either is."""
    a, b = (np.array(list(values), np.float32) for values in zip(*itertools.product(SPECIAL, SPECIAL), strict=True))
    outs = [np.zeros_like(a) for _ in range(3)]
    bounds = np.where(np.isnan(a), np.float32(0), a)  # are never NaN

    def write(code: Function, *at: Value) -> None:
        with code.loop(code.constant(I64, len(a) * 4), step=64) as i:
            p, q, bound = (code.load(F32x16, place + i) for place in at[:3])
            results = code.maximum(bound, q), code.minimum(bound, q), code.largest(p, q)
            for place, value in zip(at[3:], results, strict=True):
                code.store(value, place + i)

    run(target, write, a, b, bounds, *outs)
    for found, expected in zip(outs, (np.maximum(bounds, b), np.minimum(bounds, b), np.maximum(a, b)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_vectors(target: Target) -> None:
    x = np.arange(16, dtype=np.float32) * 1.5
    outs = np.zeros((6, 16), np.float32)

    def write(code: Function, source: Value, out: Value) -> None:
        v, scalar = code.load(F32x16, source), code.load(F32, source + 12)
        turned = code.lanes(v, range(15, -1, -1))
        results = [
            code.splat(scalar), turned, code.fma(v, v, turned), code.fma(v, 2.0, turned),
            code.select(v > 5.0, v, turned), code.constant(F32x16, -2),
        ]  # fmt: skip
        for number, result in enumerate(results):
            code.store(result, out + 64 * number)

    run(target, write, x, outs)
    back = x[::-1]
    expected = [np.full(16, x[3]), back, x * x + back, 2 * x + back, np.where(x > 5, x, back), np.full(16, -2)]
    np.testing.assert_array_equal(outs, np.array(expected))


def test_conversions(target: Target) -> None:
    small, floats, bits = np.array([0, 1, 127, 128, 255], np.uint8), np.zeros(5, np.float32), np.zeros(5, np.int32)

    def write(code: Function, source: Value, floating: Value, integer: Value) -> None:
        with code.loop(code.constant(I64, 5)) as i:
            value = code.convert(code.convert(code.load(I8, source + i), I32, "zext"), F32, "uitofp")
            code.store(value * 0.5, floating + i * 4)
            code.store(code.convert(value, I32, "bitcast"), integer + i * 4)
            code.store(code.convert(code.convert(value + 1.0, I32, "fptosi"), I8, "trunc"), source + i)

    run(target, write, small, floats, bits)
    assert floats.tolist() == [0, 0.5, 63.5, 64, 127.5]
    assert bits.view(np.float32).tolist() == [0, 1, 127, 128, 255]
    assert small.tolist() == [1, 2, 128, 129, 0]


def test_unaligned_addresses(target: Target) -> None:
    memory = np.zeros(200, np.uint8)
    values = np.arange(16, dtype=np.float32)
    memory[4:68] = values.view(np.uint8)
    memory[101:103] = 0x34, 0x12

    def write(code: Function, base: Value) -> None:
        code.store(code.load(F32x16, base + 4) * 2.0, base + 116)
        code.store(code.convert(code.load(I16, base + 102 - 2), I64, "zext"), base + 80)

    run(target, write, memory)
    assert (memory[116:180].view(np.float32) == 2 * values).all()
    assert memory[80:88].view(np.int64)[0] == 0x3400


def test_control(target: Target) -> None:
    """Loops from, to and in steps, branches, and leaving early."""
    out = np.zeros(40, np.int64)

    def write(code: Function, base: Value, ten: Value) -> None:
        total = code.variable(I64)
        with code.loop(ten, start=1, step=4) as i:  # 1, 5, 9
            total.set(total.get() + i)
        code.store(total.get(), base)
        with code.loop(ten, start=10):  # never
            code.store(ten, base + 8)
        with code.loop(ten) as i:
            with code.when(i > 6):
                code.store(i, base + 16 + i * 8)
            code.either(
                (i % 2).equals(0),
                lambda: code.store(ten, base + 160 + i * 8),
                lambda: code.store(ten + 1, base + 160 + i * 8),
            )
        count = code.variable(I64)
        with code.forever() as leave_if:
            count.set(count.get() + 1)
            leave_if(count.get() >= 7)
            code.store(count.get(), base + 248)
        code.store(count.get(), base + 256)
        code.return_if(ten.equals(10))
        code.store(ten, base + 264)

    run(target, write, out, 10)
    assert out[:2].tolist() == [15, 0]
    assert out[2:12].tolist() == [0] * 7 + [7, 8, 9]
    assert out[20:30].tolist() == [10, 11] * 5
    assert out[31:34].tolist() == [6, 7, 0]


def test_atomic_counters(target: Target) -> None:
    """A counter that many threads share: every ticket is drawn once."""
    counter, seen = np.zeros(2, np.int64), np.zeros(4000, np.int64)

    def count(code: Function, place: Value, marks: Value) -> None:
        with code.loop(code.constant(I64, 1000)):
            ticket = code.atomic_add(place, 1)
            code.atomic_add(marks + ticket * 8, 1)
        code.atomic_add(place + 8, 5)
        code.return_if(code.atomic_load(place + 8) < 0)

    threads = [threading.Thread(target=run, args=(target, count, counter, seen)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.tolist() == [4000, 20]
    assert (seen == 1).all()


# --------------------------------------------------------------------------------------------------------------- tiles


TARGETS = {
    "avx512": Target("x", "", "avx512"), "avx2": Target("x", "", "avx2"), "neon": Target("x", "", "neon"),
    "baseline": Target("x", "", "baseline"),
}  # fmt: skip


@given(st.integers(1, 4000), st.data())
def test_tiles_cover_every_pixel(width: int, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, min(width, 30)))
    begin = starts(width, rows)
    assert begin == sorted(set(begin))
    assert begin[0] == 0
    assert begin[-1] + rows == width
    assert all(after - before <= rows for before, after in itertools.pairwise(begin))
    assert len(begin) == -(-width // rows)  # no more than needed


@given(st.sampled_from(list(TARGETS)), st.integers(1, 300), st.integers(1, 130))
def test_tiles_fit_the_registers(level: str, width: int, blocks: int) -> None:
    target = TARGETS[level]
    rows, vectors = tile_shape(target, width, blocks)
    assert 1 <= rows <= width
    assert blocks % vectors == 0
    registers, parts = {"avx512": (32, 1), "avx2": (16, 2), "neon": (32, 4), "baseline": (16, 4)}[level]
    assert rows * vectors * parts + vectors * parts + 1 <= registers


@given(st.integers(1, 500), st.integers(1, 70), st.sampled_from([1, 16, 36]), st.integers(1, 64), st.data())
def test_tasks_are_within_bounds(tiles: int, groups: int, batch: int, threads: int, data: st.DataObject) -> None:
    cycles, tile_bytes, group_bytes = (data.draw(st.floats(1, 1e7)) for _ in range(3))
    per_task, groups_per_task = split(tiles, groups, batch, cycles, tile_bytes, group_bytes, threads)
    assert 1 <= per_task <= tiles
    assert 1 <= groups_per_task <= groups


def test_large_steps_are_shared_out() -> None:
    """Every thread has something to do."""
    for threads in (2, 3, 8):
        per_task, groups_per_task = split(400, 8, 1, 1000.0, 1000.0, 1e5, threads)
        assert -(-400 // per_task) * -(-8 // groups_per_task) >= threads


@given(st.integers(1, 500), st.integers(1, 600))
def test_batches_are_divided_evenly(images: int, at_once: int) -> None:
    groups = divide(images, at_once)
    assert [image for first, count in groups for image in range(first, first + count)] == list(range(images))
    counts = [count for _, count in groups]
    assert max(counts) <= at_once
    assert max(counts) - min(counts) <= 1
    assert len(groups) == -(-images // at_once)


# -------------------------------------------------------------------------------------------------------------- memory


@st.composite
def lifetimes(draw: st.DrawFn) -> list[tuple[int, int, int, tuple[int, ...]]]:
    """Maps: first and last step, size, geometry."""
    maps = []
    for _ in range(draw(st.integers(1, 25))):
        first = draw(st.integers(0, 12))
        geometry = draw(st.sampled_from([(), (1,), (2,)]))
        size = 5000 * (geometry[0] + 1) if geometry else draw(st.integers(1, 20000))
        maps.append((first, first + draw(st.integers(0, 5)), size, geometry))
    return sorted(maps)


@given(lifetimes())
@settings(deadline=None)
def test_maps_that_live_together_do_not_overlap(maps: list[tuple[int, int, int, tuple[int, ...]]]) -> None:
    memory, places = Memory(), [-1] * len(maps)
    for step in range(20):
        for number, (first, _, size, geometry) in enumerate(maps):
            if first == step:
                places[number] = memory.take(size, geometry)
        for number, (_, last, _, _) in enumerate(maps):
            if last == step:
                memory.give_back(places[number])
    area, offsets = memory.allocate()
    assert not area.any()
    ranges = [(offsets[place], offsets[place] + size) for place, (_, _, size, _) in zip(places, maps, strict=True)]
    assert all(end <= len(area) for _, end in ranges)
    for one, two in itertools.combinations(range(len(maps)), 2):
        apart = ranges[one][1] <= ranges[two][0] or ranges[two][1] <= ranges[one][0]
        together = maps[one][0] <= maps[two][1] and maps[two][0] <= maps[one][1]
        if together or maps[one][3] != maps[two][3]:  # borders are written once, so they are never shared with others
            assert apart


def test_places_are_used_again() -> None:
    memory = Memory()
    first = memory.take(1000)
    memory.give_back(first)
    assert memory.take(900) == first
    assert memory.take(900) != first
    bordered = memory.take(500, (1, 2))
    memory.give_back(bordered)
    assert memory.take(500, (1, 3)) != bordered
    assert memory.take(500) != bordered
    assert memory.take(500, (1, 2)) == bordered


def test_zeroed_memory() -> None:
    for size in (0, 1, 4096, 3 << 21):
        memory = zeroed(size)
        assert len(memory) == max(1, size)
        assert not memory.any()
        assert memory.ctypes.data % (1 << 21) == 0
        memory[:] = 1


def test_geometry_of_a_map() -> None:
    m = Map(40, 2, 5, 7, 4)
    assert m.bare
    assert (m.pixel, m.row, m.image, m.plane, m.bytes) == (64, 7 * 64, 35 * 64, 70 * 64, 3 * 70 * 64)
    m.extend(1)
    m.extend(0, 9, 5)  # Winograd: at least 9 rows and 5 columns
    m.base = 1000
    assert (m.row, m.image) == (9 * 64, 10 * 9 * 64)
    assert m.origin == 1000 + 9 * 64 + 64
    assert not m.bare
    part = m.part(1, 1)
    assert (part.origin, part.plane, part.images) == (m.origin + m.image, m.plane, 1)


IMAGE = 10000  # stands for the number of the image, because 0 means that nothing was written


class Watched:
    """Runs through the steps of a program and remembers who wrote what: every byte of its memory has an owner.

    Attributes
    ----------
    owner : (bytes,) int
        The number of the map whose pixels were written last; 0 where nothing was.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.plan, self.start = blueprint, blueprint.memory.ctypes.data
        self.owner = np.zeros(len(blueprint.memory), np.int32)

    def bytes_of(self, m: Map) -> np.ndarray:
        """The whole map with its borders: (blocks, images, rows, columns, bytes of a pixel)."""
        planes = 1 if isinstance(m, planning.Image) else blocks_of(m.channels)
        assert m.base >= self.start
        assert m.base - self.start + (planes - 1) * m.plane + m.images * m.image <= len(self.owner)
        shape = (planes, m.images, m.image // m.row, m.row // m.pixel, m.pixel)
        strides = tuple(size * self.owner.itemsize for size in (m.plane, m.image, m.row, m.pixel, 1))
        return np.lib.stride_tricks.as_strided(self.owner[m.base - self.start :], shape, strides)

    def inside(self, m: Map) -> np.ndarray:
        b = m.border
        return self.bytes_of(m)[:, :, b : b + m.height, b : b + m.width]

    def write(self, m: Map, number: int) -> None:
        self.inside(m)[...] = number

    def read(self, m: Map, number: int) -> None:
        """The map is there, and its border is as it was in the beginning."""
        assert (self.inside(m) == number).all(), f"map {number} is gone"
        whole, b = self.bytes_of(m), m.border
        border = np.ones(whole.shape, bool)
        border[:, :, b : b + m.height, b : b + m.width] = False
        assert not whole[border].any(), f"something was written into the border of map {number}"

    def scribble(self, address: int, size: int) -> None:
        """Working memory of Winograd's algorithm."""
        assert address >= self.start
        self.owner[address - self.start : address - self.start + size] = -1

    def run(self) -> None:
        blueprint = self.plan
        for section in blueprint.sections:
            for first, images in section.groups:
                if section is blueprint.sections[0]:
                    self.write(blueprint.image.part(0, images), IMAGE)
                for node in section.nodes:
                    self.step(node, first, images)

    def step(self, node: Any, first: int, images: int) -> None:
        def part(number: int) -> Map:
            if number == 0:
                return self.plan.image.part(0, images)
            m = self.plan.maps[number]
            if number in self.plan.rows_of_images:
                return m
            return m.part(first if m.images == self.plan.shape[0] else 0, images)

        self.read(part(node.input), node.input or IMAGE)
        products = self.plan.products.get(node.output)
        if products is not None:
            for address, batch in ((products.inputs, products.input_batch), (products.outputs, products.output_batch)):
                self.scribble(address, products.form.products * batch)
        if isinstance(node, Convolution) and node.residual is not None:
            self.read(part(node.residual), node.residual)
        self.write(part(node.output), node.output)


@functools.cache
def compiled(name: str, precision: str) -> Any:
    model = calibrated(**NETWORKS[name])
    return model.compile(precision=precision, calibration=noise(2, model.config.num_channels))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", ["four stages", "bottleneck", "resnet-d", "cifar", "output stride 8", "catavgmax"])
@pytest.mark.parametrize("working_set", [100, 20000, 1 << 40])
def test_maps_stay_until_they_are_read(
    name: str, precision: str, working_set: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order in which they run, all steps find what they read, in whole, with clean borders."""
    plan = compiled(name, precision)
    monkeypatch.setattr(planning, "WORKING_SET", working_set)
    for tile in (None, 2, 4):
        if tile is not None:
            costs = {form: -1e9 if form[0] == tile else 1e9 for form in planning.TRANSFORM}
            monkeypatch.setattr(planning, "TRANSFORM", costs)
        blueprint = Blueprint(plan.graph, plan._store, (5, plan.channels[0], 33, 30), True, plan._machine.target)
        Watched(blueprint).run()
    assert (tile in {products.form.tile for products in blueprint.products.values()}) == (precision == "float32")


# ------------------------------------------------------------------------------------------------------------ Winograd


class Exactly:
    """Stands in for a function under construction, and computes with the values at once."""

    @staticmethod
    def fma(a: Fraction, b: float, c: Fraction) -> Fraction:
        return a * Fraction(b) + c


class Number(Fraction):
    """A fraction that takes floats for what they are: halves of halves."""

    def __mul__(self, other: Any) -> Any:  # type: ignore[override]
        return Number(Fraction(self) * Fraction(other))

    def __add__(self, other: Any) -> Any:  # type: ignore[override]
        return Number(Fraction(self) + Fraction(other))

    def __sub__(self, other: Any) -> Any:  # type: ignore[override]
        return Number(Fraction(self) - Fraction(other))


def exact_kernel_matrix(form: Form) -> list[list[Fraction]]:
    """G of Toom and Cook from its definition, in fractions; for a stride of 2 a row for every input of a tile's row."""
    points = [Fraction(point) for point in form.points]
    length = 3 if form.stride == 1 else 2
    rows = []
    for point in points:
        rest = Fraction(1)
        for other in points:
            rest *= point - other if other != point else 1
        rows.append([point**power / rest for power in range(length)])
    rows.append([Fraction(0)] * (length - 1) + [Fraction(1)])
    if form.stride == 1:
        return rows
    return [[first, Fraction(0), last] for first, last in rows] + [[Fraction(0), Fraction(1), Fraction(0)]] * form.tile


@pytest.mark.parametrize("form", KINDS.values())
def test_the_kernel_matrix(form: Form) -> None:
    expected = np.array([[float(value) for value in row] for row in exact_kernel_matrix(form)])
    assert form.products == len(expected) ** 2
    np.testing.assert_allclose(kernel_matrix(form), expected[: form.tile + 2], rtol=1e-15)


@pytest.mark.parametrize("form", KINDS.values())
def test_winograds_identity_is_exact(form: Form) -> None:
    """``A.T (G g G.T * B.T d B) A`` is the convolution of d with g, in fractions, from what the generators write."""
    rng, (tile, stride), span, code = np.random.default_rng(0), form, form.span, Exactly()
    matrix = exact_kernel_matrix(form)
    d = [[Number(int(v)) for v in row] for row in rng.integers(-99, 100, (span, span))]
    g = [[Fraction(int(v)) for v in row] for row in rng.integers(-99, 100, (3, 3))]
    transformed = _in_two_dimensions(code, d, _input_combination, form)  # type: ignore[arg-type]
    kernel = [
        [sum(matrix[i][r] * g[r][c] * matrix[j][c] for r in range(3) for c in range(3)) for j in range(span)]
        for i in range(span)
    ]
    products = [[transformed[i][j] * kernel[i][j] for j in range(span)] for i in range(span)]
    found = _in_two_dimensions(code, products, _output_combination, form)  # type: ignore[arg-type]
    for y, x in itertools.product(range(tile), repeat=2):
        window = itertools.product(range(3), repeat=2)
        assert found[y][x] == sum(d[y * stride + r][x * stride + c] * g[r][c] for r, c in window)


@pytest.mark.parametrize("form", KINDS.values())
def test_transformed_weights(form: Form) -> None:
    weight = np.random.default_rng(1).standard_normal((5, 7, 3, 3)).astype(np.float32)
    matrix = np.array([[float(value) for value in row] for row in exact_kernel_matrix(form)])
    expected = np.einsum("pr,ocrs,qs->pqoc", matrix, weight.astype(np.float64), matrix).reshape(-1, 5, 7)
    found = transform_weights(weight, form)
    assert len(found) == (form.tile + 2) ** 2
    np.testing.assert_allclose(found[form.kernels], expected, rtol=1e-12, atol=1e-12)


# --------------------------------------------------------------------------------------------- fingerprints, machines


@pytest.mark.parametrize("target_name", ["native", "baseline"])
def test_every_array_has_its_fingerprint(target_name: str) -> None:
    model = calibrated()
    fingerprint = Fingerprint(machine_for(find_target(target_name)), model)
    arrays = [array for array in model._arrays().values() if np.issubdtype(array.dtype, np.floating)]
    assert len(arrays) > 30
    assert fingerprint.matches()
    for array in arrays:
        flat = array.reshape(-1)
        assert flat.base is not None
        places = range(len(flat)) if len(flat) <= 32 else (0, len(flat) - 1)
        for place in places:
            before = flat[place].copy()
            flat[place] = np.nextafter(before, np.float32(9))
            assert not fingerprint.matches(), (array.shape, place)
            flat[place] = before
            assert fingerprint.matches()
        flat[len(flat) // 2 :] *= np.float32(1.5)
        assert not fingerprint.matches()
        flat[len(flat) // 2 :] /= np.float32(1.5)
        fingerprint = Fingerprint(machine_for(find_target(target_name)), model)  # division may round


def test_numbers_that_change_places_are_noticed() -> None:
    model = calibrated()
    fingerprint = Fingerprint(machine_for(find_target()), model)
    bias = model.classifier[1].bias.data
    bias[:] = bias[::-1].copy()
    assert not fingerprint.matches()
    bias[:] = bias[::-1].copy()
    assert fingerprint.matches()


def test_modules_that_are_replaced_are_noticed() -> None:
    model = calibrated()
    machine = machine_for(find_target())
    for change in (
        lambda: model.reset_classifier(5),
        lambda: model.resnet.encoder.stages.append(model.resnet.encoder.stages[-1]),
        lambda: setattr(model.classifier[1].bias, "data", model.classifier[1].bias.data.copy()),
        lambda: setattr(model.resnet.embedder.embedder.normalization, "running_mean", np.zeros(16, np.float32)),
    ):
        fingerprint = Fingerprint(machine, model)
        assert fingerprint.matches()
        change()
        assert not fingerprint.matches()


def test_peak(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "ROUNDS", 1)
    for precision in ("float32", "int8", *(["bfloat16"] if target.has_bf16 else [])):
        assert 0 < peak_gflops(precision, num_threads=2, target=target) < 1e7


def test_code_of_other_sources_and_processors_is_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    target = find_target()
    others = [
        Target(target.cpu + "x", target.features, target.level),
        Target(target.cpu, target.features + ",-sse3", target.level),
        Target(target.cpu, target.features, "baseline" if target.level != "baseline" else "avx2"),
    ]
    identities = [other.identity for other in (target, *others)]
    assert len(set(identities)) == 4
    here = Machine(target)._cache.location
    assert here is not None
    assert Machine(target)._cache.location == here
    assert Machine(find_target("baseline"))._cache.location != here or target == find_target("baseline")
    monkeypatch.setattr(machine_module, "_source_hash", lambda: "0123456789abcdef")
    assert Machine(target)._cache.location != here
    monkeypatch.undo()
    monkeypatch.setattr(machine_module, "__version__", "99.0")
    assert Machine(target)._cache.location != here


def test_the_hash_is_that_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every file of the engine, since it may take part in what is generated."""
    folder = Path(machine_module.__file__).parent
    for path in folder.rglob("*.py"):
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    make = machine_module._source_hash.__wrapped__
    first = make()
    monkeypatch.setattr(machine_module, "__file__", str(tmp_path / "machine.py"))
    assert make() == first
    for name in ("tasks.py", "arithmetic.py", "microkernel.py", "record.py", "training/packing.py"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content + b"\n")
        assert make() != first, name
        (tmp_path / name).write_bytes(content)
    assert make() == first


def test_code_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPRESNET_CACHE_DIR", str(tmp_path))
    compiled_texts: list[str] = []
    compile_it = Machine._compile

    def counting(machine: Machine, text: str) -> bytes:
        compiled_texts.append(text)
        return compile_it(machine, text)

    monkeypatch.setattr(Machine, "_compile", counting)
    target, x = find_target(), np.ones(40, np.float32)
    table, result = np.array([x.ctypes.data, x.size], np.int64), np.zeros(1, np.int64)
    hashes = []
    for machine in (Machine(target), Machine(target)):
        for _ in range(2):
            native(machine.function("fingerprint"), 3)(table.ctypes.data, 1, result.ctypes.data)
            hashes.append(int(result[0]))
    assert len(compiled_texts) == 1
    assert len(set(hashes)) == 1
    assert "define" in compiled_texts[0]
    assert "ret" in Machine(target).assembly(compiled_texts[0])
