"""The compiled tasks of the training step by themselves: pools, packing and unpacking, to the last bit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from npresnet import ops, use_backend
from npresnet.engine import Target, find_target, record
from npresnet.engine.layout import BLOCK, Map, blocks_of
from npresnet.engine.machine import machine_for
from npresnet.engine.steps import maps_read, maps_written
from npresnet.engine.table import Table
from npresnet.engine.training.contents import Contents
from npresnet.engine.training.places import Places
from npresnet.engine.winograd import KINDS, transform_weights

THREADS = 2


@pytest.fixture(params=["native", "avx2", "baseline"])
def target(request: pytest.FixtureRequest) -> Target:
    try:
        return find_target(request.param)
    except ValueError as error:
        pytest.skip(str(error))


def run(target: Target, tasks: int, function: str, *options: Any, **fields: float) -> None:
    """One step of a program."""
    machine = machine_for(target)
    row = record.make(task=machine.function(function, *options), tasks=tasks, **fields)
    Table([row], machine, THREADS, 4096).run(0, 1)


class Blocked:
    """A map in memory of its own, full of a number that should not be seen.

    Parameters
    ----------
    shape : (N, C, H, W)
    border : int
    """

    def __init__(self, shape: tuple[int, int, int, int], border: int = 0) -> None:
        n, channels, height, width = shape
        self.map = Map(channels, n, height, width, 4)
        self.map.extend(border, height + border + 1, width + border + 2)
        self.memory = np.full(self.map.bytes // 4, 1e30, np.float32)
        self.map.base = self.memory.ctypes.data
        self.border = border

    @property
    def blocks(self) -> np.ndarray:
        """A view without the border, (C / 16, N, H, W, 16)."""
        m = self.map
        whole = self.memory.reshape(blocks_of(m.channels), m.images, m.image // m.row, m.row // 64, BLOCK)
        return whole[:, :, self.border : self.border + m.height, self.border : self.border + m.width]

    @property
    def values(self) -> np.ndarray:
        """(N, C, H, W)."""
        blocks = self.blocks.transpose(1, 0, 4, 2, 3)
        return blocks.reshape(len(blocks), -1, *blocks.shape[3:])[:, : self.map.channels]

    def fill(self, values: np.ndarray) -> Blocked:
        """Take (N, C, H, W); lanes without a channel are zero."""
        n, channels, height, width = values.shape
        padded = np.zeros((n, blocks_of(channels) * BLOCK, height, width), np.float32)
        padded[:, :channels] = values
        self.blocks[...] = padded.reshape(n, -1, BLOCK, height, width).transpose(1, 0, 3, 4, 2)
        return self

    @property
    def untouched(self) -> bool:
        """Whether the border is as it was."""
        inside = self.blocks.copy()
        self.blocks[...] = 1e30
        border = bool((self.memory == np.float32(1e30)).all())
        self.blocks[...] = inside
        return border

    def fields(self, name: str) -> dict[str, float]:
        m = self.map
        return {name: m.origin, f"{name}_row": m.row, f"{name}_plane": m.plane, f"{name}_image": m.image}


# --------------------------------------------------------------------------------------------------------------- pools

WINDOWS = [(3, 2, 1), (3, 2, 0), (2, 2, 0), (3, 1, 1), (2, 3, 1)]  # kernel, stride, padding


def drawn(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    if kind == "ties":
        return rng.integers(-2, 2, shape).astype(np.float32)
    values = rng.standard_normal(shape).astype(np.float32)
    if kind == "special":
        values[rng.random(shape) < 0.2] = -np.inf
        values[rng.random(shape) < 0.05] = np.nan
        values[rng.random(shape) < 0.05] = np.inf
    return values


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", ["normal", "ties", "special"])
def test_max_pool(kind: str, window: tuple[int, int, int], ceil_mode: bool, target: Target) -> None:
    """The same numbers as the ordinary path, and the gradient goes to the same pixels: sums of integers are exact."""
    kernel, stride, padding = window
    for size in ((7, 8), (3, 5), (2, 2), (10, 3)):
        values = drawn(kind, (2, 21, *size))
        if min(size) + 2 * padding < kernel:
            continue
        with use_backend("numpy"):
            expected, cache = ops.max_pool2d(values, kernel, stride, padding, ceil_mode=ceil_mode)
            dy = np.random.default_rng(1).integers(-9, 10, expected.shape).astype(np.float32)
            expected_gradient = ops.max_pool2d_backward(dy, cache)
        n, channels, height, width = expected.shape
        source, output = Blocked(values.shape, 1).fill(values), Blocked(expected.shape, 2)
        gradient, dx = Blocked(expected.shape, 1).fill(dy), Blocked(values.shape)
        index = np.zeros(n * blocks_of(channels) * height * width * BLOCK, np.uint8)
        shared = {
            "out_height": height, "out_width": width, "stride": stride, "padding": padding, "index": index.ctypes.data,
        }  # fmt: skip
        planes = n * blocks_of(channels)
        run(
            target, planes * height, "max_pool_indexed", kernel, **maps_read(source.map), **maps_written(output.map),
            **shared,
        )  # fmt: skip
        np.testing.assert_array_equal(output.values, expected)
        assert output.untouched
        run(
            target, planes * size[0], "max_pool_gradient", kernel, **gradient.fields("gradient"),
            **maps_written(dx.map), images=n, height=size[0], width=size[1], **shared,
        )  # fmt: skip
        np.testing.assert_array_equal(dx.values, expected_gradient)
        assert dx.untouched


def test_spread_and_clear(target: Target) -> None:
    shape = (3, 40, 5, 6)
    dy = np.random.default_rng(2).standard_normal((3, 40)).astype(np.float32)
    head = np.zeros((3, 48), np.float32)
    head[:, :40] = dy
    head = np.ascontiguousarray(head.reshape(3, 3, 16).transpose(1, 0, 2))  # (blocks, N, 16)
    dx = Blocked(shape, 1)
    fields = {**maps_written(dx.map), "images": 3, "height": 5, "width": 6}
    run(target, 9, "spread_gradient", gradient=head.ctypes.data, **fields)
    np.testing.assert_array_equal(dx.values, np.broadcast_to((dy / np.float32(30))[:, :, None, None], shape))
    assert dx.untouched
    run(target, 9, "clear", **fields)
    assert not dx.values.any()
    assert dx.untouched


# ------------------------------------------------------------------------------------------------------------- packing


@pytest.mark.parametrize("lanes", [1, 15, 16, 17, 48])
def test_pack_weights(lanes: int, target: Target) -> None:
    """Terms go where the table says, some at a time; lanes without a channel are zero, and so is -1."""
    rng = np.random.default_rng(lanes)
    per_lane = 37
    weights = rng.standard_normal((lanes, per_lane)).astype(np.float32)
    terms = rng.integers(-1, per_lane, 23)
    for per_task in (1, 7, 23, 40):
        packed = np.full((blocks_of(lanes), len(terms), BLOCK), 1e30, np.float32)
        table = np.where(terms < 0, -1, 4 * terms).astype(np.int64)
        run(
            target, blocks_of(lanes) * -(-len(terms) // per_task), "pack_weights", input=weights.ctypes.data,
            output=packed.ctypes.data, entries=len(terms), channels=lanes, lane_stride=4 * per_lane,
            table=table.ctypes.data, channels_per_task=per_task,
        )  # fmt: skip
        expected = np.zeros((len(packed) * BLOCK, len(terms)), np.float32)
        expected[:lanes] = np.where(terms < 0, 0, weights[:, terms])
        np.testing.assert_array_equal(packed, expected.reshape(-1, BLOCK, len(terms)).transpose(0, 2, 1))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_pack_winograd(kind: str, turned: bool, target: Target) -> None:
    """``G g G.T``; for the way back of the kernel turned around, with inputs and outputs exchanged."""
    form, out, channels = KINDS[kind], 32, 48
    weights = np.random.default_rng(3).standard_normal((out, channels, 3, 3)).astype(np.float32)
    exact = transform_weights(weights, form)  # ((m + 2)^2, O, C)
    inputs, outputs, strides = channels, out, (36 * channels, 36)
    if turned:
        exact = transform_weights(weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), form)
        inputs, outputs, strides = out, channels, (36, 36 * channels)
    for per_task in (5, 48):
        packed = np.full((len(exact), outputs // BLOCK, inputs, BLOCK), 1e30, np.float32)
        run(
            target, outputs // BLOCK * -(-inputs // per_task), "pack_winograd", form.tile, form.stride, turned,
            input=weights.ctypes.data, output=packed.ctypes.data, output_batch=packed[0].nbytes, channels=inputs,
            lane_stride=strides[0], channel_stride=strides[1], channels_per_task=per_task,
        )  # fmt: skip
        expected = exact.reshape(len(exact), -1, BLOCK, inputs).transpose(0, 1, 3, 2)
        np.testing.assert_allclose(packed, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("parts", [1, 3])
def test_unpack_gradient(parts: int, accumulate: int, target: Target) -> None:
    """Sums over the parts, of integers; to where the table says, for every output of every group."""
    rng = np.random.default_rng(parts)
    rows, vectors, groups, blocks, taps = 4, 2, 2, 3, 9
    out, per_output = 55, 150  # of 64 outputs; numbers of one output
    sums = rng.integers(-50, 50, (parts, groups, blocks, taps, vectors, rows, BLOCK)).astype(np.float32)
    tile = rows * vectors * 64
    sources = [(t, r) for t in range(taps) for r in range(rows)]
    source_bytes = np.array([t * tile + r * 64 for t, r in sources], np.int64)
    places = np.full(blocks * len(sources), -1)
    used = rng.choice(len(places), 100, replace=False)
    places[used] = rng.permutation(per_output)[:100]
    table = np.where(places < 0, -1, 4 * places).astype(np.int64)
    before = rng.integers(-50, 50, (out, per_output)).astype(np.float32)
    found = before.copy()
    run(
        target, groups * blocks, "unpack_gradient", rows, vectors, input=sums.ctypes.data, output=found.ctypes.data,
        table=table.ctypes.data, entries=len(sources), input_lines=source_bytes.ctypes.data, accumulate=accumulate,
        lane_stride=4 * per_output, out_channels=out, channels=blocks, taps=taps, tile_sums=tile, groups=groups,
        parts=parts,
    )  # fmt: skip
    expected = before.copy()
    total = sums.sum(axis=0)
    for number, place in enumerate(places):
        if place < 0:
            continue
        block, (tap, row) = number // len(sources), sources[number % len(sources)]
        values = total[:, block, tap, :, row].reshape(-1)[:out]
        expected[:, place] = values + accumulate * before[:, place]
    np.testing.assert_array_equal(found, expected)


# ------------------------------------------------------------------------------------------- what is decided in Python


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_phases_meet_every_product_once(kernel: int, stride: int, dilation: int) -> None:
    """Every pair of an input pixel and an output that reads it belongs to one phase, with the right kernel position."""
    padding = dilation * (kernel // 2)
    for height, width in ((1, 1), (4, 7), (9, 2), (8, 8)):
        out = [-(-n // stride) for n in (height, width)]
        expected = {
            (y, x, r, c, i, j)
            for i in range(out[0]) for j in range(out[1]) for r in range(kernel) for c in range(kernel)
            for y, x in [(i * stride - padding + dilation * r, j * stride - padding + dilation * c)]
            if 0 <= y < height and 0 <= x < width
        }  # fmt: skip
        nothing: Any = None
        source, before = Map(16, 1, height, width, 4), Map(16, 1, *out, 4)
        contents = Contents(nothing, nothing, 16, 16, kernel, stride, padding, dilation, source, before, before)
        found = []
        for phase in contents.phases:
            for a in range(phase.height):
                for b in range(phase.width):
                    for (r, c), (down, right) in phase.taps.items():
                        i, j = a + down, b + right
                        if 0 <= i < out[0] and 0 <= j < out[1]:
                            found.append((phase.y + stride * a, phase.x + stride * b, r, c, i, j))
        assert len(found) == len(set(found))
        assert set(found) == expected


def test_memory_of_the_training_step() -> None:
    """Whatever is needed at the same time lies apart, and what has a border follows only its like."""
    rng = np.random.default_rng(0)
    requests: list[tuple[str, int, tuple[int, ...]]] = []
    alive: list[int] = []
    taken = 0
    for _ in range(300):
        if alive and rng.random() < 0.45:
            requests.append(("give back", alive.pop(rng.integers(len(alive))), ()))
        else:
            geometry = () if rng.random() < 0.6 else (int(rng.integers(3)),)
            size = 64000 * (geometry[0] + 1) if geometry else int(rng.integers(1, 500_000))
            requests.append(("take", size, geometry))
            alive.append(taken)
            taken += 1
    rehearsal = Places()
    places = Places(rehearsal_of(rehearsal, requests))
    workspace = places.workspace("sums", 1000)
    start, end = places.memory.ctypes.data, places.memory.ctypes.data + len(places.memory)
    tenants: list[tuple[int, int, tuple[int, ...]]] = []  # address, size, geometry
    living: dict[int, tuple[int, int]] = {}
    for what, value, geometry in requests:
        if what == "take":
            address = places.take(value, geometry)
            assert start <= address <= address + value <= end
            assert address + value <= workspace or workspace + 1000 <= address
            for other, size in living.values():
                assert address + value <= other or other + size <= address
            living[len(tenants)] = (address, value)
            tenants.append((address, value, geometry))
        else:
            places.give_back(tenants[value][0])
            del living[value]
    for (address, size, geometry), (other, more, another) in itertools.combinations(tenants, 2):
        assert geometry == another or address + size <= other or other + more <= address
    assert len(places.memory) < 0.6 * sum(size for _, size, _ in tenants)
    assert not places.memory.any()


def rehearsal_of(places: Places, requests: list[tuple[str, int, tuple[int, ...]]]) -> Places:
    """The same requests, noted."""
    places.workspace("sums", 1000)
    addresses = []
    for what, value, geometry in requests:
        if what == "take":
            addresses.append(places.take(value, geometry))
        else:
            places.give_back(addresses[value])
    return places
