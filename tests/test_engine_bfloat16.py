"""Programs in bfloat16: each layer from its own input, weights and maps rounded to bfloat16, and sums in float64."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from calibrated import NETWORKS, calibrated, close, noise, ordinary
from hypothesis import given
from hypothesis import strategies as st

from npresnet import ops, use_backend
from npresnet.engine import Plan, find_target, planning
from npresnet.engine.graph import Classifier, GlobalPool, Ordinary, Pool
from npresnet.engine.planning import TRANSFORM, Blueprint
from npresnet.engine.weights import to_bfloat16
from npresnet.nn import Conv2d

needs_bfloat16 = pytest.mark.skipif(not find_target().has_bf16, reason="this processor has no bfloat16 arithmetic")


def rounded(x: np.ndarray) -> np.ndarray:
    """The nearest number with 8 significant bits, half to even; in float64, for finite numbers."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    return np.ldexp(np.rint(np.ldexp(mantissa, 8)), exponent - 8)


def spacing(x: np.ndarray) -> np.ndarray:
    """Between neighbouring bfloat16 numbers of this size."""
    return np.ldexp(1.0, np.frexp(np.maximum(np.abs(x), 1e-30))[1] - 8)


def test_rounded() -> None:
    """The oracle itself, on numbers with 8 bits, halves of the last, and a little more."""
    assert rounded(np.array([255.0, 256.0, 257.0, 258.0, 259.0, 261.0, 261.01, 0.0, -257.0])).tolist() == [
        255, 256, 256, 258, 260, 260, 262, 0, -256,
    ]  # fmt: skip


@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32, allow_subnormal=False)))
def test_rounding_of_weights(values: list[float]) -> None:
    x = np.array(values, np.float32)
    found = (to_bfloat16(x).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(found, rounded(x))


def test_rounding_of_special_numbers() -> None:
    bits = [0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x80000000, 0x3F808000, 0x3F818000]  # the last two are halves
    found = to_bfloat16(np.array(bits, np.uint32).view(np.float32))
    assert found.tolist() == [0x7F80, 0xFF80, 0x7F80, 0x8000, 0x3F80, 0x3F82]
    nan = to_bfloat16(np.array([0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32))
    assert np.isnan((nan.astype(np.uint32) << 16).view(np.float32)).all()


@functools.cache
def network(name: str) -> Any:
    return calibrated(**NETWORKS[name])


def by_winograd(plan: Plan) -> set[int]:
    """Outputs of the layers that the last call computed by Winograd's algorithm: in float32, with whole weights."""
    assert plan._last is not None
    return set(Blueprint(plan.graph, plan._store, plan._last.shape, plan.winograd, plan._machine.target).products)


def from_its_input(node: Any, maps: dict[int, np.ndarray], whole: bool) -> np.ndarray:
    """What a layer makes of the engine's own maps, before the result is rounded; perhaps with weights that are not."""
    x, layer = maps[node.input].astype(np.float64), node.layer
    if isinstance(node, Classifier):
        return x @ rounded(layer.weight.data).T + layer.bias.data
    if isinstance(node, (Ordinary, Pool)):
        return layer(x)
    if isinstance(node, GlobalPool):
        return layer(x).reshape(len(x), -1)
    if isinstance(layer, Conv2d):
        norm = node.normalization
        factor = norm.weight.data / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
        weight = (layer.weight.data * factor[:, None, None, None]).astype(np.float32)
        weight = weight.astype(np.float64) if whole else rounded(weight)
        bias = norm.bias.data - norm.running_mean * factor
        y, _ = ops.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    else:
        y = layer(x)
    if node.residual is not None:
        y = y + maps[node.residual]
    low, high = {"identity": (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}[node.activation]
    return np.clip(y, low, high)


def compare(plan: Plan, x: np.ndarray) -> None:
    nodes = plan.graph.nodes
    maps = plan.run(x, [node.output for node in nodes])
    assert maps is not None
    seen, whole = {0: rounded(x), **maps}, by_winograd(plan)
    for node in nodes:
        found = maps[node.output]
        with use_backend("numpy"):
            expected = from_its_input(node, seen, node.output in whole)
        if isinstance(node, Classifier):
            close(f"bfloat16 layer: {node.name}", found, expected)
            continue
        assert not (found.view(np.uint32) & 0xFFFF).any(), f"{node.name} has numbers that are not bfloat16"
        error = np.abs(found - expected)
        assert (error <= 0.5001 * spacing(expected) + 3e-5 * expected.std()).all(), node.name
        assert (found == rounded(expected)).mean() > 0.99, node.name


@needs_bfloat16
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("winograd", [True, False])
def test_every_layer_is_rounded_once(name: str, winograd: bool) -> None:
    """To the nearest bfloat16 of the exact sum, but for rounding errors of float32 before."""
    model = network(name)
    for images in (3, 1):
        compare(model.compile(precision="bfloat16", winograd=winograd), noise(images, model.config.num_channels))


@needs_bfloat16
@pytest.mark.parametrize("form", TRANSFORM)
def test_winograd_reads_and_writes_bfloat16(form: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is not worth it, and with a residual."""
    monkeypatch.setattr(planning, "TRANSFORM", {other: -1e9 if other == form else 1e9 for other in TRANSFORM})
    plan = network("four stages").compile(precision="bfloat16")
    compare(plan, noise(2))
    assert by_winograd(plan)


@needs_bfloat16
def test_pixels_halfway_between_two_numbers() -> None:
    """Are rounded to even."""
    mantissa, exponent = np.frexp(noise())
    halfway = np.ldexp(np.rint(np.ldexp(mantissa, 9)), exponent - 9)
    assert 0.4 < (halfway != rounded(halfway)).mean() < 0.6
    compare(network("basic").compile(precision="bfloat16"), halfway.astype(np.float32))


@needs_bfloat16
@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_near_the_real_numbers(name: str) -> None:
    model = network(name)
    x = noise(3, model.config.num_channels)
    found = model.compile(precision="bfloat16")(x).logits
    close("in bfloat16", found, ordinary(model, x).logits, rms=0.05, largest=0.2)
