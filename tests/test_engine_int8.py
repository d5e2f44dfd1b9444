"""Eight-bit programs, exactly: the same network in whole numbers with NumPy, and every number of every map the same.

A map holds whole numbers q between 0 and 255, which stand for ``(q - zero) * scale``; a weight is a whole number v
between -127 and 127 times the step of its output channel. What a layer sums is a whole number too, and what follows is
a handful of float32 operations in an order that is part of the definition. So nothing is left to rounding errors.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from calibrated import NETWORKS, calibrated, close, noise, ordinary

from npresnet.engine import Plan, find_target
from npresnet.engine.graph import Classifier, Convolution, GlobalPool, Pool
from npresnet.engine.quantize import between
from npresnet.engine.store import Quantized
from npresnet.nn import AvgPool2d, Conv2d

TARGETS = ("native", "avx2", "baseline")
EXACT = [name for name in NETWORKS if name not in ("gelu", "silu")]  # the others compute exponentials in between
F = np.float32


# ----------------------------------------------------------------------------------------- the network in whole numbers


def weights_of(node: Any, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole weights (O, C / groups, k, k), the step of each output channel in float32, and the bias in float64."""
    layer = node.layer
    if isinstance(node, Classifier):
        exact, bias = layer.weight.data[:, :, None, None].astype(np.float64), layer.bias.data.astype(np.float64)
    elif isinstance(layer, Conv2d):
        norm = node.normalization
        factor = norm.weight.data / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
        exact = layer.weight.data * factor[:, None, None, None]
        bias = norm.bias.data - norm.running_mean * factor
    else:  # zeros around the channels of the input
        out, first = layer.out_channels, (layer.out_channels - channels) // 2
        exact = np.pad(np.eye(channels), ((first, out - channels - first), (0, 0)))[:, :, None, None]
        bias = np.zeros(out)
    largest = np.abs(exact).max(axis=(1, 2, 3))
    steps = np.where(largest > 0, largest / 127, 1).astype(F)
    whole = np.rint(exact.astype(F) / steps[:, None, None, None])
    assert np.abs(whole).max() == 127
    return whole.astype(np.int64), steps, bias


def convolve(
    q: np.ndarray, whole: np.ndarray, zero: int, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> np.ndarray:
    """The sums of a convolution as 64-bit integers, (N, O, oh, ow); outside the map is what stands for zero."""
    k, per_group = whole.shape[-1], whole.shape[1]
    q = np.pad(q.astype(np.int64), ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=zero)
    height, width = ((size - dilation * (k - 1) - 1) // stride + 1 for size in q.shape[2:])
    sums = np.zeros((len(q), len(whole), height, width), np.int64)
    outputs = len(whole) // groups
    for group in range(groups):
        own = slice(group * outputs, (group + 1) * outputs)
        for r in range(k):
            for c in range(k):
                part = q[:, group * per_group : (group + 1) * per_group, r * dilation :, c * dilation :]
                part = part[:, :, : (height - 1) * stride + 1 : stride, : (width - 1) * stride + 1 : stride]
                sums[:, own] += np.einsum("nchw,oc->nohw", part, whole[own, :, r, c])
    return sums


def windows(q: np.ndarray, size: int, stride: int, padding: int, output: tuple[int, int]) -> np.ma.MaskedArray:
    """The numbers under each window, (N, C, oh, ow, size * size); those outside the map are masked."""
    below = [max(0, (n - 1) * stride + size - padding - m) for n, m in zip(output, q.shape[2:], strict=True)]
    pads = ((0, 0), (0, 0), (padding, below[0]), (padding, below[1]))
    padded, outside = np.pad(q, pads), np.pad(np.zeros(q.shape, bool), pads, constant_values=True)
    h, w = ((n - 1) * stride + 1 for n in output)
    places = [(r, c) for r in range(size) for c in range(size)]
    values, masks = (
        np.stack([a[:, :, r : r + h : stride, c : c + w : stride] for r, c in places], axis=-1)
        for a in (padded, outside)
    )
    return np.ma.MaskedArray(values, masks)


class WholeNumbers:
    """Computes every map of a graph for pixel values.

    Attributes
    ----------
    maps : {number: array}
        Whole numbers; for the logits float32.
    largest_sum : int
        Of all layers.
    """

    def __init__(self, nodes: Iterable[Any], quantized: dict[int, Quantized], x: np.ndarray) -> None:
        self._quantized, self.largest_sum = quantized, 0
        scale, zero = quantized[0]
        self.maps = {0: np.clip(np.rint(x * F(1 / scale) + F(zero)), 0, 255).astype(np.int64)}
        for node in nodes:
            if isinstance(node, (Convolution, Classifier)):
                self.maps[node.output] = self._convolution(node)
            elif isinstance(node, Pool):
                self.maps[node.output] = self._pool(node)
            else:
                assert isinstance(node, GlobalPool)
                self.maps[node.output] = self._global_pool(node)

    def values(self, number: int) -> np.ndarray:
        """A map as the real numbers that it stands for, in float32."""
        if number not in self._quantized:
            return self.maps[number]
        scale, zero = self._quantized[number]
        return (self.maps[number].astype(F) - F(zero)) * F(scale)

    def _convolution(self, node: Any) -> np.ndarray:
        q, layer = self.maps[node.input], node.layer
        q = q[:, :, None, None] if q.ndim == 2 else q
        whole, steps, offset = weights_of(node, q.shape[1])
        source, is_last = self._quantized[node.input], isinstance(node, Classifier)
        target = Quantized(1.0, 0) if is_last else self._quantized[node.output]
        geometry = {}
        if isinstance(layer, Conv2d):
            geometry = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
        elif not is_last:
            geometry = {"stride": layer.stride}
        sums = convolve(q, whole, source.zero, **geometry)
        self.largest_sum = max(self.largest_sum, int(np.abs(sums).max()))

        # (sum of q v) - z (sum of v), times scale and step, plus bias: in the scale of the output.
        scale = source.scale * steps.astype(np.float64) / target.scale
        bias = offset / target.scale + target.zero - scale * source.zero * whole.sum(axis=(1, 2, 3))
        other = None if is_last or node.residual is None else self._quantized[node.residual]
        if other is not None:
            bias = bias - other.zero * other.scale / target.scale
        y = sums.astype(F) * scale.astype(F)[:, None, None] + bias.astype(F)[:, None, None]
        if other is not None:
            y = y + self.maps[node.residual].astype(F) * F(other.scale / target.scale)
        assert y.dtype == F
        if is_last:
            return y[:, :, 0, 0]
        low, high = {"identity": (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}[node.activation]
        low, high = max(0.0, low / target.scale + target.zero), min(255.0, high / target.scale + target.zero)
        return np.rint(np.clip(y, F(low), F(high))).astype(np.int64)

    def _pool(self, node: Any) -> np.ndarray:
        q, layer = self.maps[node.input], node.layer
        assert self._quantized[node.output] == self._quantized[node.input]
        if not isinstance(layer, AvgPool2d):
            sizes = [-(-(n + 2 * layer.padding - 3) // 2) + 1 if layer.ceil_mode else (n - 1) // 2 + 1
                     for n in q.shape[2:]]  # fmt: skip
            return windows(q, 3, 2, layer.padding, (sizes[0], sizes[1])).max(axis=-1).filled(-1)
        height, width = (-(-n // layer.stride) for n in q.shape[2:])
        under = windows(q, 2, layer.stride, 0, (height, width))
        if layer.stride == 1:  # a row and a column of zeros lie behind
            under = under.filled(self._quantized[node.input].zero)
        counts = np.ma.count(under, axis=-1) if layer.stride != 1 else 4
        return np.rint(np.asarray(under.sum(axis=-1)).astype(F) / np.asarray(counts, F)).astype(np.int64)

    def _global_pool(self, node: Any) -> np.ndarray:
        q = self.maps[node.input]
        before, after = self._quantized[node.input], self._quantized[node.output]
        scale = before.scale / after.scale
        zero = after.zero - before.zero * scale
        mean = q.sum(axis=(2, 3)).astype(F) / F(q[0, 0].size)
        largest = q.max(axis=(2, 3)).astype(F)
        pooled = {
            "avg": mean, "max": largest, "avgmax": (mean + largest) * F(0.5),
            "catavgmax": np.concatenate([mean, largest], axis=1),
        }[node.layer.kind]  # fmt: skip
        y = pooled * F(scale) + F(zero)
        assert y.dtype == F
        return np.rint(np.clip(y, 0, 255)).astype(np.int64)


# ------------------------------------------------------------------------------------------------------- comparison


@functools.cache
def network(name: str) -> Any:
    return calibrated(**NETWORKS[name])


def calibration(channels: int = 3) -> np.ndarray:
    return noise(4, channels, seed=11)


def compiled(model: Any, target: str, images: np.ndarray | None = None) -> Plan:
    try:
        part = find_target(target)
    except ValueError as error:
        pytest.skip(str(error))
    channels = model.config.num_channels
    return model.compile(precision="int8", target=part, calibration=calibration(channels) if images is None else images)


def compare(plan: Plan, x: np.ndarray) -> WholeNumbers:
    """Assert that all maps are exact, and return what they should be."""
    nodes = plan.graph.nodes
    found = plan.run(x, [node.output for node in nodes])
    assert found is not None
    assert plan._store is not None
    expected = WholeNumbers(nodes, dict(plan._store.maps), x)
    for node in nodes:
        values = expected.values(node.output)
        assert found[node.output].dtype == values.dtype == F
        np.testing.assert_array_equal(found[node.output], values, err_msg=node.name)
    return expected


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", EXACT)
def test_every_number_of_every_map(name: str, target: str) -> None:
    model = network(name)
    plan = compiled(model, target)
    for images in (3, 1):
        compare(plan, noise(images, model.config.num_channels))


EXTREMES = {
    "zeros": np.zeros((2, 3, 33, 30), F),
    "far above": np.full((2, 3, 33, 30), 1e4, F),
    "far below": np.full((2, 3, 33, 30), -1e4, F),
    "tiny": noise(2) * F(1e-6),
    "one end and the other": np.where(noise(2) > 0, F(1e30), F(-1e30)),
    "infinite": np.where(noise(2) > 0, F(np.inf), F(-np.inf)),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", EXTREMES)
def test_extreme_pixels(what: str, target: str) -> None:
    for name in ("basic", "resnet-d"):
        expected = compare(compiled(network(name), target), EXTREMES[what])
        image = expected.maps[0]
        zero = expected._quantized[0].zero
        assert set(np.unique(image)) <= {
            "zeros": {zero}, "tiny": {zero}, "far above": {255}, "far below": {0},
        }.get(what, {0, 255})  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_sums_that_float32_does_not_hold(target: str) -> None:
    """Beyond 2^24 a sum is rounded once, as it becomes a float32."""
    model = calibrated(embedding_size=128, hidden_sizes=(128,), depths=(1,))
    rng = np.random.default_rng(3)
    stem: Any = model.resnet.embedder.embedder
    stem.convolution.weight.data = np.abs(stem.convolution.weight.data)
    for _, layer in model.resnet.encoder.named_modules():
        if isinstance(layer, Conv2d):
            layer.weight.data = rng.uniform(0.05, 0.06, layer.weight.shape).astype(F)
    x = noise(2) + F(0.1)
    plan = compiled(model, target, images=x * F(0.1))  # so that most numbers are 255
    expected = compare(plan, np.where(noise(2) > -1, F(100), F(1)))
    assert expected.largest_sum > 1 << 24
    assert (expected.maps[1] == 255).mean() > 0.5


def test_zero_points() -> None:
    """Maps behind a ReLU, and what is pooled from them, begin at zero; others do not."""
    plan = compiled(network("resnet-d"), "native")
    assert plan._store is not None
    maps = plan._store.maps
    signed = {node.output for node in plan.graph.convolutions if node.activation == "identity"}
    assert len(signed) == 2
    assert all(0 < maps[number].zero < 255 for number in (0, *signed))
    for node in plan.graph.nodes:
        if node.output not in signed and not isinstance(node, Classifier):
            assert maps[node.output].zero == 0, node.name


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1.0, 1.0, (2 / 255, 128)),
        (0.0, 5.1, (0.02, 0)),
        (2.0, 5.1, (0.02, 0)),
        (-5.1, -2.0, (0.02, 255)),
        (0.0, 0.0, (1.0, 0)),
        (-0.3, 0.9, (1.2 / 255, 64)),
    ],
)
def test_the_scale_of_a_range(low: float, high: float, expected: tuple[float, int]) -> None:
    """Zero is always one of the 256 numbers."""
    scale, zero = between(low, high)
    assert scale == pytest.approx(expected[0], rel=1e-12)
    assert zero == expected[1]


def test_scales_fit_the_maps() -> None:
    """A ten-thousandth of the numbers may lie beyond, at either end; for the image none."""
    model = network("resnet-d")
    plan = compiled(model, "native")
    nodes = [node for node in plan.graph.nodes if not isinstance(node, Classifier)]
    maps = model.compile().run(calibration(), [node.output for node in nodes])
    assert maps is not None
    assert plan._store is not None
    pooled = {node.output: node.input for node in nodes if isinstance(node, Pool)}
    for number, (scale, zero) in plan._store.maps.items():
        measured = number
        while measured in pooled:  # a pool has the scale of its input
            measured = pooled[measured]
        values = calibration() if number == 0 else maps[measured]
        low, high = (0 - zero - 0.5) * scale, (255 - zero + 0.5) * scale
        beyond = int(((values < low) | (values > high)).sum())
        assert beyond <= (0 if number == 0 else 2 + 3e-4 * values.size), number
        assert 0.2 < scale * 255 / (max(values.max(), 0) - min(values.min(), 0)) < 1.001, number


def test_the_first_batch_calibrates() -> None:
    model, x = network("basic"), noise(3)
    plan = model.compile(precision="int8", target=find_target("native"))
    assert np.array_equal(plan(x).logits, compiled(model, "native", images=x)(x).logits)
    plan(noise(3, seed=9) * F(5))
    assert np.array_equal(plan(x).logits, compiled(model, "native", images=x)(x).logits)
    many = np.concatenate([x, x * F(9)] * 4)  # only the first 16 images count
    assert np.array_equal(
        model.compile(precision="int8", target=find_target("native"))(many).logits,
        compiled(model, "native", images=many[:16])(many).logits,
    )


def test_changed_weights_are_calibrated_anew() -> None:
    model, x = calibrated(), noise()
    for plan in (compiled(model, "native"), model.compile(precision="int8", target=find_target("native"))):
        model.load_state_dict(calibrated(seed=0).state_dict())
        before = plan(x).logits
        model.load_state_dict(calibrated(seed=8, loudness=3.0).state_dict())
        found = plan(x).logits
        images = calibration() if plan._calibration is not None else x
        assert np.array_equal(found, compiled(model, "native", images=images)(x).logits)
        assert not np.array_equal(found, before)
        compare(plan, x)


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_bits_are_near_the_real_numbers(name: str) -> None:
    """Seen: 0.14 standard deviations on average, 0.34 at most."""
    model = network(name)
    x = noise(3, model.config.num_channels)
    found = compiled(model, "native")(x).logits
    close("in 8 bits", found, ordinary(model, x).logits, rms=0.3, largest=0.8)
