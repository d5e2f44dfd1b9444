"""Arrays of Keras and Caffe compute what they computed there; other input channels; descriptions of differences."""

from __future__ import annotations

import numpy as np
import pytest
from resnet_arrays import conv_layer, golden_shapes, placeholders, resnet_shapes

from npresnet.checkpoint.adapt import adapt_input_channels, describe_differences
from npresnet.checkpoint.errors import CheckpointError
from npresnet.checkpoint.names import to_canonical


def keras_arrays(path: str) -> dict[str, np.ndarray]:
    """A small bottleneck ResNet as Keras' ResNet50 names its weights; ``path`` says how a layer becomes a path."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}

    def add(layer: str, **values: np.ndarray) -> None:
        arrays.update({path.format(layer=layer, name=name): v.astype("f4") for name, v in values.items()})

    def conv(layer: str, kernel: int, inp: int, out: int) -> None:
        add(layer.format("conv"), kernel=rng.standard_normal((kernel, kernel, inp, out)), bias=rng.standard_normal(out))
        add(layer.format("bn"), gamma=rng.standard_normal(out), beta=rng.standard_normal(out),
            moving_mean=rng.standard_normal(out), moving_variance=rng.uniform(0.5, 2, out))  # fmt: skip

    conv("conv1_{}", 7, 3, 8)
    inp = 8
    for stage, out in ((2, 16), (3, 32)):
        for block in (1, 2):
            if block == 1:
                conv(f"conv{stage}_block1_0_{{}}", 1, inp, out)
            conv(f"conv{stage}_block{block}_1_{{}}", 1, inp, out // 4)
            conv(f"conv{stage}_block{block}_2_{{}}", 3, out // 4, out // 4)
            conv(f"conv{stage}_block{block}_3_{{}}", 1, out // 4, out)
            inp = out
    add("predictions", kernel=rng.standard_normal((32, 5)), bias=rng.standard_normal(5))
    return arrays


@pytest.mark.parametrize(
    "path",
    ["{layer}/{layer}/{name}:0", "model_weights/{layer}/{layer}/{name}", "{layer}/{name}", "net/{layer}/{name}:0"],
)
def test_keras_arrays_compute_the_same(path: str) -> None:
    raw = keras_arrays(path)
    canonical, naming = to_canonical(raw)
    expected = resnet_shapes((2, 2), (16, 32), "bottleneck", 8, stem=((8, 7),), num_labels=5)
    assert naming == "keras"
    assert {name: array.shape for name, array in canonical.items()} == {
        name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")
    }

    def keras(layer: str, name: str) -> np.ndarray:
        return raw[path.format(layer=layer, name=name)].astype("f8")

    # A 3x3 patch through convolution, bias and BatchNorm, as Keras does it: (kh, kw, I) with (kh, kw, I, O).
    patch = np.random.default_rng(1).standard_normal((3, 3, 8))
    conv, bn, eps = "conv3_block2_2_conv", "conv3_block2_2_bn", 1.001e-5
    summed = np.tensordot(patch, keras(conv, "kernel"), axes=3) + keras(conv, "bias")
    scaled = (summed - keras(bn, "moving_mean")) / np.sqrt(keras(bn, "moving_variance") + eps)
    wanted = keras(bn, "gamma") * scaled + keras(bn, "beta")
    # And as PyTorch does it, without the bias: (I, kh, kw) with (O, I, kh, kw).
    layer = "resnet.encoder.stages.1.layers.1.layer.1"
    ours = {name.removeprefix(f"{layer}."): a.astype("f8") for name, a in canonical.items() if name.startswith(layer)}
    summed = np.tensordot(ours["convolution.weight"], patch.transpose(2, 0, 1), axes=3)
    scaled = (summed - ours["normalization.running_mean"]) / np.sqrt(ours["normalization.running_var"] + eps)
    np.testing.assert_allclose(
        ours["normalization.weight"] * scaled + ours["normalization.bias"], wanted, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(canonical["classifier.1.weight"], keras("predictions", "kernel").T)
    assert all(array.flags.c_contiguous and array.dtype == np.float32 for array in canonical.values())


def test_what_keras_keeps_beside_the_weights_is_ignored() -> None:
    raw = keras_arrays("{layer}/{name}:0")
    extra = {"optimizer_weights/Adam/conv1_conv/kernel:0": np.zeros(1), "optimizer/vars/3": np.zeros(2)}
    assert to_canonical(raw | extra)[0].keys() == to_canonical(raw)[0].keys()


def caffe_arrays(key: str, blocks: tuple[tuple[str, ...], ...], factor: float, old: bool) -> dict[str, np.ndarray]:
    """A small bottleneck ResNet as the authors' Caffe models name it; ``old`` gives vectors and fc four dimensions."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}

    def add(layer: str, *blobs: np.ndarray) -> None:
        for i, blob in enumerate(blobs):
            shape = (1,) * (4 - blob.ndim) + blob.shape if old else blob.shape
            arrays[key.format(layer=layer, i=i)] = blob.reshape(shape).astype("f4")

    def conv(name: str, out: int, inp: int, kernel: int, prefix: str = "res", bias: bool = False) -> None:
        norm = name if prefix == "res" else "_conv1"
        blobs = [rng.standard_normal((out, inp, kernel, kernel)), rng.standard_normal(out)]
        add(prefix + name, *blobs[: 2 if bias else 1])
        add(f"bn{norm}", rng.standard_normal(out), rng.uniform(0.5, 2, out), np.full(1, factor))
        add(f"scale{norm}", rng.standard_normal(out), rng.standard_normal(out))

    conv("1", 8, 3, 7, prefix="conv", bias=True)  # ResNet-50's first convolution does have a bias
    inp = 8
    for stage, (letters, out) in enumerate(zip(blocks, (16, 32), strict=True), 2):
        for letter in letters:
            if letter == "a":
                conv(f"{stage}a_branch1", out, inp, 1)
            conv(f"{stage}{letter}_branch2a", out // 4, inp, 1)
            conv(f"{stage}{letter}_branch2b", out // 4, out // 4, 3)
            conv(f"{stage}{letter}_branch2c", out, out // 4, 1)
            inp = out
    add("fc1000", rng.standard_normal((5, 32)), rng.standard_normal(5))
    return arrays


@pytest.mark.parametrize("key", ["{layer}/{i}", "{layer}.{i}", "{layer}_{i}", "{layer}:{i}"])
@pytest.mark.parametrize("blocks", [(("a", "b"), ("a", "b", "c")), (("a", "b"), ("a", "b1", "b2"))])
@pytest.mark.parametrize("old", [False, True])
def test_caffe_arrays(key: str, blocks: tuple[tuple[str, ...], ...], old: bool) -> None:
    factor = 999.98
    raw = caffe_arrays(key, blocks, factor, old)
    canonical, naming = to_canonical(raw)
    expected = resnet_shapes((2, 3), (16, 32), "bottleneck", 8, stem=((8, 7),), num_labels=5)
    assert naming == "caffe"
    assert {name: array.shape for name, array in canonical.items()} == {
        name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")
    }

    def caffe(layer: str, i: int) -> np.ndarray:
        return raw[key.format(layer=layer, i=i)]

    last = f"3{blocks[1][2]}_branch2c"
    layer = "resnet.encoder.stages.1.layers.2.layer.2"
    np.testing.assert_array_equal(canonical[f"{layer}.convolution.weight"], caffe(f"res{last}", 0))
    for name, values in {
        "running_mean": caffe(f"bn{last}", 0) / factor,
        "running_var": caffe(f"bn{last}", 1) / factor,
        "weight": caffe(f"scale{last}", 0),
        "bias": caffe(f"scale{last}", 1),
    }.items():
        np.testing.assert_allclose(canonical[f"{layer}.normalization.{name}"], values.ravel(), rtol=1e-6)
    np.testing.assert_allclose(
        canonical["resnet.embedder.embedder.normalization.running_mean"],
        (caffe("bn_conv1", 0) / factor - caffe("conv1", 1)).ravel(),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    np.testing.assert_array_equal(canonical["classifier.1.weight"], caffe("fc1000", 0).reshape(5, 32))


def test_caffe_factor_of_zero_means_no_statistics() -> None:
    canonical, _ = to_canonical(caffe_arrays("{layer}/{i}", (("a",), ("a",)), 0, old=False))
    statistics = canonical["resnet.encoder.stages.0.layers.0.layer.1.normalization.running_var"]
    np.testing.assert_array_equal(statistics, np.zeros(4))


def test_caffe_blobs_in_another_order_are_refused() -> None:
    raw = caffe_arrays("{layer}/{i}", (("a",), ("a",)), 1, old=False)
    raw["bn2a_branch1/2"] = raw["bn2a_branch1/0"]
    with pytest.raises(CheckpointError, match=r"mean, variance, factor"):
        to_canonical(raw)


def test_bias_without_batch_norm_is_refused() -> None:
    raw = placeholders(golden_shapes("torchvision_resnet18")) | {"layer1.0.conv1.bias": np.zeros(63)}
    with pytest.raises(CheckpointError, match=r"convolution\.bias' of shape \(63,\).*found of shape \(64,\)"):
        to_canonical(raw)


def test_first_convolution_for_other_channels() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3, 7, 7)).astype("f4")
    patch = rng.standard_normal((1, 7, 7))
    grey = adapt_input_channels(weight, 1)
    assert grey.shape == (4, 1, 7, 7)
    on_rgb = np.tensordot(weight, np.repeat(patch, 3, axis=0), axes=3)
    np.testing.assert_allclose(np.tensordot(grey, patch, axes=3), on_rgb, rtol=1e-5, atol=1e-5)
    for channels in (2, 4, 6, 7):
        fitted = adapt_input_channels(weight, channels)
        assert fitted.shape == (4, channels, 7, 7)
        assert fitted.dtype == np.float32
        for c in range(channels):
            np.testing.assert_allclose(fitted[:, c], weight[:, c % 3] * 3 / channels, rtol=1e-6)
    assert adapt_input_channels(weight, 3) is weight
    with pytest.raises(CheckpointError, match="takes 1 channels and cannot be fitted to 3"):
        adapt_input_channels(grey, 3)


def test_differences_are_described_line_by_line() -> None:
    expected = conv_layer("a", 8, 3, 3) | conv_layer("b", 8, 8, 3)
    assert describe_differences(expected, expected) == []
    found = {name: shape for name, shape in expected.items() if not name.startswith("b.")}
    del found["a.normalization.num_batches_tracked"]
    assert describe_differences(found, expected, limit=0) == ["... and 7 more unexpected"]
    found |= {"a.convolution.weight": (8, 1, 3, 3), "c": (2,)}
    assert describe_differences(expected, found, limit=2) == [
        "a.convolution.weight: expected shape (8, 3, 3, 3), found (8, 1, 3, 3)",
        "b.convolution.weight: missing, expected shape (8, 8, 3, 3)",
        "b.normalization.weight: missing, expected shape (8,)",
        "... and 3 more missing",
        "c: unexpected, found shape (2,)",
    ]
