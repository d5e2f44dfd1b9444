"""Modules: parameters, caches, modes, names, tracing; and the gradients of every layer and of whole networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from strategies import Array, frozen, normal, on_both_backends

from npresnet import ResNetBackbone, ResNetConfig, ResNetForImageClassification, ResNetModel, ops, use_backend
from npresnet.gradcheck import gradcheck_module
from npresnet.nn import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    Sequential,
    ZeroPadShortcut,
    chain,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def randomised(module: Module) -> Module:
    """With random parameters and running statistics, in float64."""
    generator = rng()
    module.astype(np.float64)
    for parameter in module.parameters():
        parameter.data = generator.standard_normal(parameter.shape)
    for _, layer in module.named_modules():
        if isinstance(layer, BatchNorm2d):
            layer.running_mean = generator.standard_normal(layer.running_mean.shape)
            layer.running_var = generator.uniform(0.5, 2, layer.running_var.shape)
    return module


IMAGES = (3, 4, 7, 6)
LAYERS: dict[str, tuple[Callable[[], Module], tuple[int, ...], tuple[int, ...]]] = {
    "conv": (lambda: Conv2d(4, 6, 3, 2), IMAGES, (3, 6, 4, 3)),
    "conv with bias": (lambda: Conv2d(4, 6, 1, bias=True), IMAGES, (3, 6, 7, 6)),
    "conv, dilated, in groups": (lambda: Conv2d(4, 6, 3, dilation=2, groups=2), IMAGES, (3, 6, 7, 6)),
    "conv without padding": (lambda: Conv2d(4, 2, 3, padding=0), IMAGES, (3, 2, 5, 4)),
    "batch norm": (lambda: BatchNorm2d(4), IMAGES, IMAGES),
    "activation": (lambda: Activation("gelu"), IMAGES, IMAGES),
    "max pool": (lambda: MaxPool2d(3, 2, 1), IMAGES, (3, 4, 4, 3)),
    "Caffe's max pool": (lambda: MaxPool2d(3, 2, ceil_mode=True), IMAGES, (3, 4, 3, 3)),
    "average pool": (lambda: AvgPool2d(2), IMAGES, (3, 4, 4, 3)),
    "average pool at stride 1": (lambda: AvgPool2d(1), IMAGES, IMAGES),
    "global pool": (lambda: GlobalPool2d(), IMAGES, (3, 4, 1, 1)),
    "global pools": (lambda: GlobalPool2d("catavgmax"), IMAGES, (3, 8, 1, 1)),
    "flatten": (lambda: Flatten(), IMAGES, (3, 168)),
    "linear": (lambda: Linear(4, 5), (3, 4), (3, 5)),
    "dropout": (lambda: Dropout(0.4, rng()), IMAGES, IMAGES),
    "stochastic depth": (lambda: Dropout(0.4, rng(), whole_samples=True), IMAGES, IMAGES),
    "zero-padded shortcut": (lambda: ZeroPadShortcut(8, 2), IMAGES, (3, 8, 4, 3)),
    "sequence": (lambda: Sequential(Conv2d(4, 3, 3), BatchNorm2d(3), Activation("tanh")), IMAGES, (3, 3, 7, 6)),
}
layers = pytest.mark.parametrize("name", LAYERS)

# ------------------------------------------------------------------------------------------------------- parameters


def test_parameter() -> None:
    parameter = Parameter(np.zeros((2, 3), np.float32))
    assert parameter.shape == (2, 3)
    assert parameter.grad is None
    assert repr(parameter) == "Parameter(2 x 3, float32)"
    first, second = frozen(np.ones((2, 3))), frozen(np.full((2, 3), 5.0))
    parameter.accumulate(first)
    parameter.accumulate(None)
    parameter.accumulate(second)
    np.testing.assert_array_equal(parameter.grad, np.full((2, 3), 6.0))
    np.testing.assert_array_equal(first, np.ones((2, 3)))
    parameter.requires_grad, parameter.grad = False, None
    parameter.accumulate(first)
    assert parameter.grad is None
    assert "frozen" in repr(parameter)


def test_gradients_accumulate_until_they_are_cleared() -> None:
    layer = randomised(Linear(3, 2)).train()
    x, dy = normal(rng(), (4, 3)), normal(rng(), (4, 2))
    for passes in (1, 2, 3):
        layer(x)
        layer.backward(dy)
        np.testing.assert_allclose(layer.weight.grad, passes * dy.T @ x)
        np.testing.assert_allclose(layer.bias.grad, passes * dy.sum(axis=0))
    layer.zero_grad()
    assert layer.weight.grad is layer.bias.grad is None


@pytest.mark.parametrize("frozen_name", ["weight", "bias"])
@pytest.mark.parametrize("make", [lambda: Conv2d(3, 2, 1, bias=True), lambda: BatchNorm2d(3), lambda: Linear(3, 2)])
def test_frozen_parameters(make: Callable[[], Module], frozen_name: str) -> None:
    """No gradient for the frozen one, the same as ever for the other."""
    x = normal(rng(), (4, 3) if isinstance(make(), Linear) else (4, 3, 2, 2))
    grads = []
    for freeze in (False, True):
        layer = randomised(make()).train()
        getattr(layer, frozen_name).requires_grad = not freeze
        layer.backward(normal(rng(), layer(x).shape))
        grads.append({name: parameter.grad for name, parameter in layer.named_parameters()})
    other = "bias" if frozen_name == "weight" else "weight"
    assert grads[1][frozen_name] is None
    np.testing.assert_array_equal(grads[1][other], grads[0][other])


# ----------------------------------------------------------------------------------------------------- every layer


@layers
@pytest.mark.parametrize("training", [True, False])
@on_both_backends
def test_gradients(backend: str, training: bool, name: str) -> None:
    make, shape, output = LAYERS[name]
    layer = randomised(make()).train(training)
    x = normal(rng(), shape)
    assert layer(x).shape == output
    with use_backend(backend):
        gradcheck_module(layer, x, samples=20).raise_if_wrong()


@layers
def test_no_argument_is_written_to(name: str) -> None:
    """All arrays are read-only here, those in caches too."""
    make, shape, _ = LAYERS[name]
    layer = randomised(make()).train()
    for parameter in layer.parameters():
        frozen(parameter.data)
    y = frozen(layer(normal(rng(), shape)))
    layer.backward(normal(rng(), y.shape))


@layers
def test_backward_only_once(name: str) -> None:
    make, shape, _ = LAYERS[name]
    layer = randomised(make()).train()
    dy = normal(rng(), layer(normal(rng(), shape)).shape)
    layer.backward(dy)
    with pytest.raises(RuntimeError, match=r"\.backward needs a forward pass in training mode before it.*used up"):
        layer.backward(dy)


@layers
def test_no_backward_in_evaluation_mode(name: str) -> None:
    make, shape, _ = LAYERS[name]
    layer = randomised(make()).eval()
    y = layer(normal(rng(), shape))
    assert all(module._cache is None for _, module in layer.named_modules())
    with pytest.raises(RuntimeError, match=r"Call model\.train\(\) .*model\.enable_grad\(\)"):
        layer.backward(y)


@layers
def test_enable_grad(name: str) -> None:
    """In evaluation mode, too, there are gradients for who asks."""
    make, shape, _ = LAYERS[name]
    layer = randomised(make()).eval()
    x = normal(rng(), shape)
    with layer.enable_grad():
        y = layer(x)
        assert not layer.training
    assert layer.backward(normal(rng(), y.shape)).shape == shape
    layer(x)
    with pytest.raises(RuntimeError, match="needs a forward pass"):
        layer.backward(y)


@layers
def test_drop_caches(name: str) -> None:
    make, shape, _ = LAYERS[name]
    layer = randomised(make()).train()
    y = layer(normal(rng(), shape))
    layer.drop_caches()
    with pytest.raises(RuntimeError, match="needs a forward pass"):
        layer.backward(y)


@layers
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype(name: str, dtype: type) -> None:
    make, shape, _ = LAYERS[name]
    layer = randomised(make())
    for parameter in layer.parameters():
        parameter.grad = parameter.data
    assert layer.astype(dtype) is layer
    assert all(parameter.grad is None for parameter in layer.parameters())  # of another precision, so of no use
    layer.train()
    y = layer(normal(rng(), shape, dtype))
    dx = layer.backward(normal(rng(), y.shape, dtype))
    assert y.dtype == dx.dtype == dtype
    assert {parameter.grad.dtype for parameter in layer.parameters()} <= {np.dtype(dtype)}
    kinds = {array.dtype for key, array in layer.named_buffers() if not key.endswith("num_batches_tracked")}
    assert kinds <= {np.dtype(dtype)}


# ------------------------------------------------------------------------------------------------ particular layers


def test_identity() -> None:
    x = normal(rng(), (2, 3))
    assert Identity()(x) is x
    assert Identity().backward(x) is x


def test_conv_without_input_gradient() -> None:
    layer = randomised(Conv2d(3, 2, 3)).train()
    y = layer(normal(rng(), (1, 3, 5, 5)))
    assert layer.backward(y, input_gradient=False).size == 0
    assert layer.weight.grad is not None


def test_batch_norm_counts_and_collects() -> None:
    layer = BatchNorm2d(2, momentum=0.25).train()
    x = np.arange(16, dtype=np.float32).reshape(2, 2, 2, 2)
    layer(x)
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.running_mean, 0.25 * mean)
    np.testing.assert_allclose(layer.running_var, 0.75 + 0.25 * var)
    layer(x)
    assert layer.num_batches_tracked == 2
    assert layer.num_batches_tracked.dtype == np.int64
    assert layer.running_mean.dtype == np.float32
    before = layer.running_mean, layer.running_var
    layer.eval()(x)
    assert layer.running_mean is before[0]
    assert layer.running_var is before[1]
    assert layer.num_batches_tracked == 2


def test_frozen_batch_norm() -> None:
    """In training mode it does what it does in evaluation mode, and learns weight and bias only."""
    x, dy = normal(rng(), IMAGES), normal(rng(), IMAGES)
    layer = randomised(BatchNorm2d(4)).eval()
    with layer.enable_grad():
        expected = layer(x)
    expected_dx = layer.backward(dy)
    layer.frozen = True
    layer.train()
    statistics = layer.running_mean.copy(), layer.running_var.copy()
    np.testing.assert_array_equal(layer(x), expected)
    np.testing.assert_array_equal(layer.backward(dy), expected_dx)
    np.testing.assert_array_equal((layer.running_mean, layer.running_var), statistics)
    assert layer.num_batches_tracked == 0
    gradcheck_module(layer, x).raise_if_wrong()


def test_average_pool_of_a_shortcut() -> None:
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(AvgPool2d(2)(x)[0, 0], [[3, 4.5], [7.5, 9]])  # an odd edge has a mean of its own
    behind = [[3, 4, 9 / 4], [6, 7, 15 / 4], [15 / 4, 17 / 4, 9 / 4]]  # zeros follow the last row and column
    np.testing.assert_array_equal(AvgPool2d(1)(x)[0, 0], behind)


def test_dropout_by_mode() -> None:
    generator = rng()
    x = np.ones((50, 4, 2, 2))
    layer = Dropout(0.5, generator)
    assert layer.eval()(x) is x
    assert Dropout(0.0, generator).train()(x) is x
    y = layer.train()(x)
    assert set(np.unique(y)) == {0, 2}
    np.testing.assert_array_equal(layer.backward(x), y)  # the same mask
    assert not np.array_equal(layer(x), y)  # a new one
    y = Dropout(0.5, generator, whole_samples=True).train()(x)
    assert (y == y[:, :1, :1, :1]).all()
    assert set(np.unique(y)) == {0, 2}


def test_sequential() -> None:
    first, second = Activation("relu"), Linear(3, 2)
    layer = Sequential(first, second)
    assert len(layer) == 2
    assert layer[0] is first
    assert layer[-1] is second
    assert [*layer.children()] == [("0", first), ("1", second)]
    assert [name for name, _ in layer.named_parameters()] == ["1.weight", "1.bias"]
    x = normal(rng(), (2, 3))
    assert Sequential()(x) is Sequential().backward(x) is x
    assert chain([first]) is first
    assert isinstance(chain([first, second]), Sequential)


def test_what_a_module_must_write() -> None:
    class Empty(Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty()(np.ones(1))
    with pytest.raises(NotImplementedError, match="Empty has no backward"):
        Empty().backward(np.ones(1))


# --------------------------------------------------------------------------------------------- structure and modes


def network() -> Sequential:
    return Sequential(
        Conv2d(2, 3, 3, bias=True), Sequential(BatchNorm2d(3), Activation("relu")), Flatten(), Linear(48, 2)
    )


NAMES = [
    "0.weight", "0.bias", "1.0.weight", "1.0.bias", "1.0.running_mean", "1.0.running_var", "1.0.num_batches_tracked",
    "3.weight", "3.bias",
]  # fmt: skip


def test_names() -> None:
    module = network()
    buffers = [name for name in NAMES if "running" in name or "tracked" in name]
    assert [name for name, _ in module.named_parameters()] == [name for name in NAMES if name not in buffers]
    assert [name for name, _ in module.named_buffers()] == buffers
    assert [name for name, _, _ in module._named_arrays()] == NAMES
    assert [name for name, _ in module.named_modules()] == ["", "0", "1", "1.0", "1.1", "2", "3"]
    assert [name for name, _ in module.named_modules("root")][:2] == ["root", "root.0"]
    assert [p for _, p in module.named_parameters()] == [*module.parameters()]
    module.train()(normal(rng(), (2, 2, 4, 4), np.float32))
    assert [name for name, _, _ in module._named_arrays()] == NAMES  # caches are no buffers


@pytest.mark.parametrize("layer_type", ["basic", "bottleneck"])
@pytest.mark.parametrize("stem_type", ["basic", "deep", "cifar"])
def test_parameters_come_in_the_order_of_the_state(layer_type: str, stem_type: str) -> None:
    model = ResNetForImageClassification(small(layer_type=layer_type, stem_type=stem_type), seed=0)
    names = dict(model.named_parameters())
    assert [name for name in model.state_dict() if name in names] == [*names]
    assert [*model.state_dict()] == [name for name, _, _ in model._named_arrays()]


def test_modes() -> None:
    module = network()
    assert not module.training
    assert module.train() is module
    assert all(m.training and m.keeps_cache for _, m in module.named_modules())
    x = normal(rng(), (2, 2, 4, 4), np.float32)
    module(x)
    assert module.eval() is module
    assert not any(m.training or m.keeps_cache or m._cache is not None for _, m in module.named_modules())


def test_enable_grad_within_enable_grad() -> None:
    module = network()
    keeps = [m for _, m in module.named_modules()]
    with module.enable_grad():
        with module.enable_grad():
            assert all(m.keeps_cache for m in keeps)
        assert all(m.keeps_cache for m in keeps)
    assert not any(m.keeps_cache for m in keeps)
    with pytest.raises(ZeroDivisionError), module.enable_grad():
        raise ZeroDivisionError
    assert not any(m.keeps_cache for m in keeps)
    with module.train().enable_grad():
        pass
    assert all(m.keeps_cache for m in keeps)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, "complex64"])
def test_wrong_dtype(dtype: Any) -> None:
    module = network()
    with pytest.raises(TypeError, match=f"a model computes in float32 or float64, not in {np.dtype(dtype)}"):
        module.astype(dtype)
    assert {parameter.data.dtype for parameter in module.parameters()} == {np.dtype(np.float32)}


# ---------------------------------------------------------------------------------------------------------- tracing


def test_trace() -> None:
    module = network().train()
    x, dy = normal(rng(), (2, 2, 4, 4), np.float32), normal(rng(), (2, 2), np.float32)
    with module.trace() as seen:
        y = module(x)
        dx = module.backward(dy)
    names = ["0", "1", "1.0", "1.1", "2", "3"]
    assert set(seen) == {*names, *(f"grad:{name}" for name in names)}
    assert seen["3"] is y
    assert seen["grad:3"] is dy
    np.testing.assert_array_equal(seen["1"], np.maximum(seen["1.0"], 0))
    np.testing.assert_array_equal(seen["2"], seen["1.1"].reshape(2, 48))
    np.testing.assert_array_equal(seen["grad:2"], dy @ module[3].weight.data)
    np.testing.assert_array_equal(seen["grad:1.0"], np.where(seen["1.0"] > 0, seen["grad:2"].reshape(2, 3, 4, 4), 0))
    _, cache = ops.conv2d(x, module[0].weight.data, module[0].bias.data, 1, 1)
    np.testing.assert_array_equal(ops.conv2d_backward(seen["grad:0"], cache)[0], dx)
    module(x + 1)
    assert seen["3"] is y  # nothing is recorded any more
    assert not any("forward" in vars(m) or "backward" in vars(m) for _, m in module.named_modules())


def test_trace_within_trace_and_errors() -> None:
    module = network()
    x = normal(rng(), (2, 2, 4, 4), np.float32)
    with module.trace() as outer:
        with module.trace() as inner:
            first = module(x)
        second = module(x + 1)
    assert inner["3"] is first
    assert outer["3"] is second
    with pytest.raises(ZeroDivisionError), module.trace():
        raise ZeroDivisionError
    assert not any("forward" in vars(m) for _, m in module.named_modules())


@pytest.mark.parametrize("layer_type", ["basic", "bottleneck"])
def test_trace_of_a_whole_network(layer_type: str) -> None:
    model = randomised(ResNetForImageClassification(small(layer_type=layer_type), seed=0)).train()
    with model.trace() as seen:
        out = model(normal(rng(), (2, 3, 32, 32)), labels=np.array([0, 1]), output_hidden_states=True)
        model.backward()
    stages = [f"resnet.encoder.stages.{i}" for i in range(2)]
    for name, state in zip(["resnet.embedder", *stages], out.hidden_states, strict=True):
        assert seen[name] is state
        assert seen[f"grad:{name}"].shape == state.shape
    block = "resnet.encoder.stages.1.layers.0"
    residual, shortcut = seen[f"{block}.layer"], seen[f"{block}.shortcut"]
    np.testing.assert_array_equal(seen[block], np.maximum(residual + shortcut, 0))
    np.testing.assert_array_equal(
        seen[f"grad:{block}.layer"], seen[f"grad:{block}.shortcut"]
    )  # a sum shares its gradient


# --------------------------------------------------------------------------------------------------- whole networks


def small(**fields: Any) -> ResNetConfig:
    """Two stages of one layer each."""
    defaults = {"layer_type": "basic", "embedding_size": 4, "hidden_sizes": (4, 8), "depths": (1, 1), "num_labels": 3}
    return ResNetConfig(**{**defaults, **fields})


NETWORKS = {
    "basic": small(),
    "bottleneck": small(layer_type="bottleneck", hidden_sizes=(8, 16)),
    "v1 bottleneck": small(layer_type="bottleneck", hidden_sizes=(8, 16), downsample_in_bottleneck=True),
    "ResNet-D": small(stem_type="deep", stem_width=4, shortcut_type="avg_down"),
    "ResNeXt": small(layer_type="bottleneck", hidden_sizes=(16, 32), groups=2, width_per_group=32),
    "CIFAR, option A": small(stem_type="cifar", shortcut_type="zero_pad", hidden_act="silu"),
    "CIFAR, plain": small(stem_type="cifar", shortcut_type="none", depths=(1, 2)),
    "plain bottleneck": small(layer_type="bottleneck", hidden_sizes=(8, 16), shortcut_type="none", hidden_act="silu"),
    "dilated": small(output_stride=8, depths=(1, 1, 1), hidden_sizes=(4, 4, 8), shortcut_type="avg_down"),
    "Caffe stem, both pools": small(stem_pool="caffe", global_pool="catavgmax"),
    "stochastic depth, dropout": small(drop_path_rate=0.5, dropout=0.3, depths=(2, 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_networks(name: str, training: bool) -> None:
    """Every parameter and the pixels, through shortcuts, strides, pools and batch statistics."""
    size = 12 if "CIFAR" in name else 24
    model = randomised(ResNetForImageClassification(NETWORKS[name], seed=0)).train(training)
    report = gradcheck_module(model, normal(rng(), (3, 3, size, size)), samples=4).raise_if_wrong()
    assert len(report.arrays) == 1 + len([*model.parameters()])
    assert all(array.checked >= min(3, np.prod(array.shape)) for array in report.arrays)


def test_gradients_of_features() -> None:
    x = normal(rng(), (3, 3, 24, 24))
    model = randomised(ResNetModel(small(), seed=0)).train()
    gradcheck_module(model, x, samples=3).raise_if_wrong()
    report = gradcheck_module(
        model,
        x,
        samples=3,
        forward=lambda model, x: model(x).pooler_output,
        backward=lambda model, dy: model.backward(d_pooler_output=dy, input_gradient=True),
    )
    report.raise_if_wrong()


def test_gradients_of_feature_maps() -> None:
    """Two maps of a backbone at once: their gradients meet on the way down."""
    backbone = randomised(ResNetBackbone(small(out_features=("stage1", "stage2")), seed=0)).train()

    def forward(model: Any, x: Array) -> Array:
        return np.concatenate([feature_map.ravel() for feature_map in model(x).feature_maps])

    def backward(model: Any, dy: Array) -> Any:
        maps = [np.empty((3, 4, 6, 6)), np.empty((3, 8, 3, 3))]
        parts = np.split(dy, [maps[0].size])
        return model.backward([p.reshape(m.shape) for p, m in zip(parts, maps, strict=True)], input_gradient=True)

    gradcheck_module(
        backbone, normal(rng(), (3, 3, 24, 24)), samples=3, forward=forward, backward=backward
    ).raise_if_wrong()


def test_gradient_of_the_loss() -> None:
    """Without an upstream gradient, backward starts from the loss."""
    model = randomised(ResNetForImageClassification(small(), seed=0)).train()
    x, labels = normal(rng(), (3, 3, 24, 24)), np.array([0, 2, 1])
    out = model(x, labels=labels)
    loss, cache = ops.cross_entropy(out.logits, labels)
    assert out.loss == loss
    dx = model.backward(input_gradient=True)
    grads = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    model(x)
    np.testing.assert_array_equal(model.backward(ops.cross_entropy_backward(cache), input_gradient=True), dx)
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)
