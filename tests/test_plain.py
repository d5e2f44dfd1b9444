"""Plain networks: what is left of a residual network without its shortcuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import CIFAR, network, pixels

import npresnet
from npresnet import ResNetConfig, ops
from npresnet.checkpoint import CheckpointError

PLAIN = CIFAR | {"shortcut_type": "none", "depths": (2, 1, 1)}


def by_hand(state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The logits: convolution, normalisation and ReLU over and over again, in the order of the names."""
    names = [name.removesuffix(".convolution.weight") for name in state if name.endswith(".convolution.weight")]
    for name in names:
        stride = 2 if name.endswith((".stages.1.layers.0.layer.0", ".stages.2.layers.0.layer.0")) else 1
        x, _ = ops.conv2d(x, state[f"{name}.convolution.weight"], stride=stride, padding=1)
        mean, var, weight, bias = (
            state[f"{name}.normalization.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = np.maximum((x - mean) / np.sqrt(var + 1e-5) * weight + bias, 0)
    return x.mean(axis=(2, 3)) @ state["classifier.1.weight"].T + state["classifier.1.bias"]


def test_forward_is_one_layer_after_the_other() -> None:
    model, x = network(dtype="float64", **PLAIN), pixels(dtype="float64")
    np.testing.assert_allclose(model(x).logits, by_hand(model.state_dict(), x), rtol=1e-12)


def test_compiled() -> None:
    model, x = network(**PLAIN), pixels()
    plan = model.compile()
    double = {name: array.astype(np.float64) for name, array in model.state_dict().items()}
    np.testing.assert_allclose(plan(x).logits, by_hand(double, x.astype(np.float64)), rtol=1e-4, atol=1e-5)
    assert all(node.residual is None for node in plan.graph.convolutions)


def test_it_is_not_the_network_with_shortcuts() -> None:
    plain, residual, x = network(**PLAIN), network(**(PLAIN | {"shortcut_type": "zero_pad"})), pixels()
    residual.load_state_dict(plain.state_dict())
    assert np.abs(plain(x).logits - residual(x).logits).max() > 0.1
    assert plain.num_parameters == residual.num_parameters
    assert "shortcut" not in str(plain.summary(depth=None))


def test_no_gradient_goes_around_a_layer() -> None:
    """Where a convolution has only zeros, all below it stays without a gradient."""
    for shortcut, passes in (("none", False), ("zero_pad", True)):
        model = network(**(PLAIN | {"shortcut_type": shortcut})).train()
        last = dict(model.named_parameters())["resnet.encoder.stages.2.layers.0.layer.0.convolution.weight"]
        last.data = np.zeros_like(last.data)
        model(pixels(), np.array([0, 1]))
        model.backward()
        stem = dict(model.named_parameters())["resnet.embedder.embedder.convolution.weight"]
        assert stem.grad.any() == passes


def test_depth_of_the_presets() -> None:
    """Layers with weights, as the paper counts them."""
    for depth in (20, 32, 44, 56):
        model = getattr(npresnet, f"Plain{depth}")(_initialize=False)
        kinds = [row.kind for row in model.summary(depth=None).all_rows]
        assert kinds.count("Conv2d") + kinds.count("Linear") == depth
        assert "ZeroPadShortcut" not in kinds
        assert model.config.replace(shortcut_type="zero_pad") == npresnet.preset(f"resnet{depth}")


# ------------------------------------------------------------------------------------------------------------- files


def test_config_json() -> None:
    config = npresnet.preset("plain20")
    values = config.to_dict()
    assert values["shortcut_type"] == "none"
    assert ResNetConfig.from_dict(values) == config


@pytest.mark.filterwarnings("ignore:Transformers' ResNet has no")
@pytest.mark.parametrize("target", ["a.npz", "a.safetensors", "directory"])
def test_saved_and_loaded(target: str, tmp_path: Path) -> None:
    model, x = network(**PLAIN), pixels()
    model.save(tmp_path / target)
    found = npresnet.load(tmp_path / target)
    assert found.config == model.config
    assert np.array_equal(found(x).logits, model(x).logits)


def test_bare_arrays_need_to_be_told(tmp_path: Path) -> None:
    """Names and shapes are those of a network with parameter-free shortcuts, which is much more common."""
    model, x = npresnet.Plain20(seed=0), pixels()
    np.savez(tmp_path / "a.npz", **model.state_dict("cifar"))
    assert npresnet.load(tmp_path / "a.npz").config.shortcut_type == "zero_pad"
    for found in (npresnet.load(tmp_path / "a.npz", shortcut_type="none"), npresnet.Plain20.load(tmp_path / "a.npz")):
        assert found.config.shortcut_type == "none"
        assert np.array_equal(found(x).logits, model(x).logits)


def test_another_class_refuses_it(tmp_path: Path) -> None:
    npresnet.Plain20(seed=0).save(tmp_path / "a.npz")
    with pytest.raises(
        CheckpointError, match=r"holds a plain network, without shortcuts, not a ResNet20.*npresnet\.load"
    ):
        npresnet.ResNet20.load(tmp_path / "a.npz")
    assert npresnet.Plain20.load(tmp_path / "a.npz").config.shortcut_type == "none"


@pytest.mark.parametrize("fields", [{"drop_path_rate": 0.2}, {"zero_init_last": True}])
def test_what_makes_no_sense_without_a_shortcut(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"contradicts shortcut_type='none': without a shortcut nothing would pass"):
        npresnet.Plain20(**fields)
