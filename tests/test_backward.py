"""Backward passes of whole models: finite differences, when they are refused, freezing, randomness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import agree
from small import BASIC, BOTTLENECK, CIFAR, RESNET_D, network, pixels

from npresnet import ResNetBackbone, ResNetForImageClassification, ResNetModel
from npresnet.nn import BatchNorm2d

STEP = 1e-6


def directional(loss: Any, array: np.ndarray, direction: np.ndarray) -> float:
    """The slope of ``loss()`` when ``array`` moves along a direction, by central differences."""
    saved = array.copy()
    array[...] = saved + STEP * direction
    above = loss()
    array[...] = saved - STEP * direction
    below = loss()
    array[...] = saved
    return (above - below) / (2 * STEP)


# Without kinks: activations are smooth where the configuration decides, and STEP is too small to cross a ReLU's here.
SMOOTH = {"hidden_act": "silu", "dtype": "float64"}


@pytest.mark.parametrize(
    "fields", [BASIC, BOTTLENECK, CIFAR, RESNET_D], ids=["basic", "bottleneck", "cifar", "resnet_d"]
)
@pytest.mark.parametrize("training", [False, True])
def test_gradients_by_finite_differences(fields: dict[str, Any], training: bool) -> None:
    """In evaluation mode under ``enable_grad``, and with the statistics of the batch."""
    model = network(**{**fields, **SMOOTH, "global_pool": "avg"})
    x, labels = pixels(3, 3, 24, 20, dtype="float64"), [0, 3, 1]
    model.train(training)
    with model.enable_grad():
        model(x, labels=labels)
        dx = model.backward(input_gradient=True)
    rng = np.random.default_rng(5)
    directions = rng.standard_normal((3, *x.shape))
    slopes = [directional(lambda: model(x, labels=labels).loss, x, d) for d in directions]
    agree("input gradient by finite differences", [(dx * d).sum() for d in directions], slopes, 1e-6)
    for name, parameter in model.named_parameters():
        direction = rng.standard_normal(parameter.shape)
        slope = directional(lambda: model(x, labels=labels).loss, parameter.data, direction)
        found = (parameter.grad * direction).sum()
        assert abs(found - slope) <= 1e-6 * abs(slope) + 1e-8, name


@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [
        ("regression", np.linspace(-1, 1, 10).reshape(2, 5)),
        ("multi_label_classification", np.linspace(0, 1, 10).reshape(2, 5)),
        ("single_label_classification", [3, 0]),
    ],
)
def test_losses_by_finite_differences(problem_type: str, labels: Any) -> None:
    model = network(**{**BASIC, **SMOOTH, "problem_type": problem_type}).train()
    x = pixels(2, 3, 24, 20, dtype="float64")
    model(x, labels=labels)
    dx = model.backward(input_gradient=True)
    direction = np.random.default_rng(7).standard_normal(x.shape)
    slope = directional(lambda: model(x, labels=labels).loss, x, direction)
    agree("losses by finite differences", (dx * direction).sum(), slope, 1e-6)


def test_outputs_of_model_and_backbone_by_finite_differences() -> None:
    x = pixels(2, 3, 24, 20, dtype="float64")
    rng = np.random.default_rng(6)
    model = network(ResNetModel, **{**BOTTLENECK, **SMOOTH}).train()
    out = model(x, output_hidden_states=True)
    upstream = [rng.standard_normal(h.shape) for h in out.hidden_states]
    d_last, d_pooled = rng.standard_normal(out[0].shape), rng.standard_normal(out[1].shape)
    dx = model.backward(d_last, d_pooled, d_hidden_states=upstream, input_gradient=True)

    def loss() -> float:
        out = model(x, output_hidden_states=True)
        pairs = zip((out[0], out[1], *out[2]), (d_last, d_pooled, *upstream), strict=True)
        return float(sum((value * gradient).sum() for value, gradient in pairs))

    direction = rng.standard_normal(x.shape)
    agree("model by finite differences", (dx * direction).sum(), directional(loss, x, direction), 1e-6)

    backbone = network(ResNetBackbone, **{**BOTTLENECK, **SMOOTH, "out_indices": (0, 2, 3)}).train()
    upstream = [rng.standard_normal(m.shape) for m in backbone(x).feature_maps]
    for gradients in (upstream, [upstream[0], None, None], [None, upstream[1], None]):
        backbone(x)
        dx = backbone.backward(gradients, input_gradient=True)
        slope = directional(
            lambda given=gradients: sum(
                (m * g).sum() for m, g in zip(backbone(x).feature_maps, given, strict=True) if g is not None
            ),
            x,
            direction,
        )
        agree("backbone by finite differences", (dx * direction).sum(), slope, 1e-6)


# --------------------------------------------------------------------------------------------------------- refusals


def test_a_second_backward_is_refused() -> None:
    model = network().train()
    model(pixels(), labels=[0, 1])
    model.backward()
    with pytest.raises(RuntimeError, match="needs a forward pass in training mode before it"):
        model.backward()


def test_backward_in_evaluation_mode_is_refused() -> None:
    model = network()
    model(pixels(), labels=[0, 1])
    with pytest.raises(RuntimeError, match=r"model.enable_grad\(\)"):
        model.backward()
    assert all(module._cache is None for _, module in model.named_modules())


def test_backward_without_labels_is_refused() -> None:
    model = network().train()
    model(pixels())
    with pytest.raises(ValueError, match="backward needs labels in the forward pass, or the gradient dlogits"):
        model.backward()
    model(pixels())
    model.backward(np.ones((2, 5)))
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_wrong_upstream_gradients_are_refused() -> None:
    model = network().train()
    model(pixels())
    with pytest.raises(ValueError, match=r"shape of the logits, \(2, 5\), found \(2, 3\)"):
        model.backward(np.ones((2, 3), np.float32))
    backbone = network(ResNetBackbone, out_indices=(1, 2)).train()
    backbone(pixels())
    with pytest.raises(ValueError, match=r"expected 2 gradients for \['stage1', 'stage2'\], found 1"):
        backbone.backward([None])
    with pytest.raises(ValueError, match="at least one feature map"):
        backbone.backward([None, None])
    with pytest.raises(ValueError, match=r"gradient of stage1 must have shape \(2, 8, 8, 8\), found \(2, 8\)"):
        backbone.backward([np.ones((2, 8)), None])
    features = network(ResNetModel).train()
    features(pixels())
    with pytest.raises(ValueError, match="at least one output"):
        features.backward()


def test_gradients_accumulate_until_zeroed() -> None:
    model = network(dtype="float64").train()
    x = pixels(dtype="float64")
    model(x, labels=[0, 1])
    model.backward()
    once = {name: parameter.grad.copy() for name, parameter in model.named_parameters()}
    model(x, labels=[0, 1])
    model.backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad, 2 * once[name], rtol=1e-9, atol=1e-12, err_msg=name)
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_forward_and_backward_write_to_no_argument() -> None:
    model, x, dlogits = network().train(), pixels(), np.ones((2, 5), np.float32)
    before = x.copy()
    model(x)
    model.backward(dlogits)
    assert np.array_equal(x, before)
    assert (dlogits == 1).all()


# --------------------------------------------------------------------------------------------------------- freezing


def learned(model: Any) -> set[str]:
    """Names of the parameters that received a gradient."""
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_frozen_parameters_get_no_gradient_and_the_others_the_same() -> None:
    x, labels = pixels(dtype="float64"), [0, 1]
    free = network(dtype="float64", **BOTTLENECK).train()
    free(x, labels=labels)
    free.backward()
    expected = {name: parameter.grad for name, parameter in free.named_parameters()}
    patterns = ("resnet.embedder.*", "*.stages.1.layers.0.layer.1.*", "*.shortcut.*", "classifier.1.bias")
    model = network(dtype="float64", **BOTTLENECK).train()
    frozen = model.freeze(*patterns)
    assert len(frozen) == 3 + 3 + 3 * 3 + 1
    model(x, labels=labels)
    model.backward()
    assert learned(model) == expected.keys() - set(frozen)
    for name in learned(model):
        agree(f"gradients beside frozen ones: {name}", dict(model.named_parameters())[name].grad, expected[name], 1e-12)

    assert model.unfreeze("classifier.*") == ["classifier.1.weight", "classifier.1.bias"]
    model(x, labels=labels)
    model.backward()
    assert "classifier.1.bias" in learned(model)
    with pytest.raises(ValueError, match=r"no parameter matches 'encoder.\*'; names look like resnet.embedder"):
        model.freeze("encoder.*")


@pytest.mark.parametrize("lowest", [0, 1, 2, "classifier"])
def test_stages_below_the_lowest_that_learns_are_not_run_backward(lowest: int | str) -> None:
    model = network(**BOTTLENECK).train()
    model.freeze("*")
    model.unfreeze("classifier.*" if lowest == "classifier" else f"resnet.encoder.stages.{lowest}.*")
    with model.trace() as seen:
        model(pixels(), labels=[0, 1])
        assert model.backward() is None
    assert learned(model) == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    run = {int(key.split(".")[3]) for key in seen if key.startswith("grad:resnet.encoder.stages.")}
    assert run == (set() if lowest == "classifier" else set(range(int(lowest), 3)))
    assert not any(key.startswith("grad:resnet.embedder") for key in seen)
    assert all(module._cache is None for _, module in model.named_modules()), "caches are given up all the same"
    model(pixels(), labels=[0, 1])
    assert model.backward(input_gradient=True).shape == (2, 3, 32, 32)


def statistics(model: Any) -> dict[str, np.ndarray]:
    """Running statistics and counters."""
    return {name: array for name, array in model.state_dict().items() if "running" in name or "tracked" in name}


def test_held_statistics() -> None:
    """Held BatchNorms compute in training what they compute in evaluation, and stay as they are."""
    model, x = network(), pixels()
    expected, before = model(x).logits, statistics(model)
    model.freeze("*normalization*", hold_statistics=True)
    found = model.train()(x).logits
    agree("held statistics", found, expected, 1e-6)
    assert all(np.array_equal(array, before[name]) for name, array in statistics(model).items())

    model.unfreeze("*.stages.1.*")
    model(x)
    changed = {name for name, array in statistics(model).items() if not np.array_equal(array, before[name])}
    assert changed == {name for name in before if ".stages.1." in name}
    held = [module.frozen for _, module in model.named_modules() if isinstance(module, BatchNorm2d)]
    assert held.count(True) == 6
    assert held.count(False) == 3


def test_statistics_count_batches() -> None:
    model = network().train()
    model(pixels())
    model(pixels())
    counters = [array for name, array in model.state_dict().items() if name.endswith("tracked")]
    assert all(counter.shape == () and counter.dtype == np.int64 and counter == 2 for counter in counters)
    model.eval()(pixels())
    assert model.state_dict()["resnet.embedder.embedder.normalization.num_batches_tracked"] == 2


# ------------------------------------------------------------------------------------------------------- randomness


@pytest.mark.parametrize("field", ["dropout", "drop_path_rate"])
def test_dropout_and_stochastic_depth(field: str) -> None:
    x = pixels()
    plain = network()(x).logits
    model = network(**{field: 0.5})
    assert np.array_equal(model(x).logits, plain), "nothing is dropped in evaluation"
    frozen = ("*normalization*",)
    model.freeze(*frozen, hold_statistics=True)
    model.train()
    first, second = model(x).logits, model(x).logits
    assert not np.array_equal(first, second)
    again = network(**{field: 0.5})
    again.freeze(*frozen, hold_statistics=True)
    assert np.array_equal(again.train()(x).logits, first), "the seed decides what is dropped"


def test_stochastic_depth_grows_linearly() -> None:
    model = ResNetForImageClassification(drop_path_rate=0.2, **{**BASIC, "depths": (2, 3)})
    rates = [layer.drop_path.rate for stage in model.resnet.encoder.stages for layer in stage.layers.layers]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15, 0.2])
