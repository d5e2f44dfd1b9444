"""Key names: every naming onto Transformers' names and back, against the key lists of the frameworks."""

from __future__ import annotations

import numpy as np
import pytest
from resnet_arrays import BASIC, BOTTLENECK, MODELS, golden_shapes, placeholders, resnet_shapes

from npresnet.checkpoint.errors import CheckpointError
from npresnet.checkpoint.names import NAMINGS, from_canonical, shortcut_type_of, to_canonical

BLOCK = "resnet.encoder.stages.2.layers.1"

# Written by hand: a name elsewhere, and what it means.
TORCHVISION_PAIRS = {
    "conv1.weight": "resnet.embedder.embedder.convolution.weight",
    "bn1.running_var": "resnet.embedder.embedder.normalization.running_var",
    "layer3.1.conv1.weight": f"{BLOCK}.layer.0.convolution.weight",
    "layer3.1.conv3.weight": f"{BLOCK}.layer.2.convolution.weight",
    "layer3.1.bn2.bias": f"{BLOCK}.layer.1.normalization.bias",
    "layer3.1.bn2.num_batches_tracked": f"{BLOCK}.layer.1.normalization.num_batches_tracked",
    "layer3.0.downsample.0.weight": "resnet.encoder.stages.2.layers.0.shortcut.convolution.weight",
    "layer3.0.downsample.1.weight": "resnet.encoder.stages.2.layers.0.shortcut.normalization.weight",
    "layer3.22.bn3.running_mean": "resnet.encoder.stages.2.layers.22.layer.2.normalization.running_mean",
    "fc.weight": "classifier.1.weight",
    "fc.bias": "classifier.1.bias",
}
TIMM_DEEP_PAIRS = {
    "conv1.0.weight": "resnet.embedder.embedder.0.convolution.weight",
    "conv1.1.weight": "resnet.embedder.embedder.0.normalization.weight",
    "conv1.3.weight": "resnet.embedder.embedder.1.convolution.weight",
    "conv1.4.running_mean": "resnet.embedder.embedder.1.normalization.running_mean",
    "conv1.6.weight": "resnet.embedder.embedder.2.convolution.weight",
    "bn1.bias": "resnet.embedder.embedder.2.normalization.bias",
    "layer1.0.conv1.weight": "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight",
    "layer2.0.downsample.1.weight": "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
    "layer2.0.downsample.2.weight": "resnet.encoder.stages.1.layers.0.shortcut.normalization.weight",
}
CIFAR_PAIRS = {
    "conv1.weight": "resnet.embedder.embedder.convolution.weight",
    "layer1.8.bn2.weight": "resnet.encoder.stages.0.layers.8.layer.1.normalization.weight",
    "layer2.0.shortcut.0.weight": "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
    "layer2.0.shortcut.1.running_var": "resnet.encoder.stages.1.layers.0.shortcut.normalization.running_var",
    "linear.bias": "classifier.1.bias",
}
KERAS_PAIRS = {
    "conv1_conv/conv1_conv/kernel:0": "resnet.embedder.embedder.convolution.weight",
    "model_weights/conv1_bn/conv1_bn/beta:0": "resnet.embedder.embedder.normalization.bias",
    "conv2_block1_0_conv/kernel": "resnet.encoder.stages.0.layers.0.shortcut.convolution.weight",
    "conv2_block1_0_bn/gamma:0": "resnet.encoder.stages.0.layers.0.shortcut.normalization.weight",
    "resnet50/conv5_block3_1_conv/kernel:0": "resnet.encoder.stages.3.layers.2.layer.0.convolution.weight",
    "conv4_block23_3_bn/moving_variance:0": "resnet.encoder.stages.2.layers.22.layer.2.normalization.running_var",
    "conv2_block1_2_bn/vars/2": "resnet.encoder.stages.0.layers.0.layer.1.normalization.running_mean",
    "layers/conv2_block1_2_conv/vars/0": "resnet.encoder.stages.0.layers.0.layer.1.convolution.weight",
    "predictions/predictions/kernel:0": "classifier.1.weight",
    "predictions/vars/1": "classifier.1.bias",
}
CAFFE_PAIRS = {
    "conv1/0": "resnet.embedder.embedder.convolution.weight",
    "bn_conv1.0": "resnet.embedder.embedder.normalization.running_mean",
    "bn_conv1_1": "resnet.embedder.embedder.normalization.running_var",
    "scale_conv1_0": "resnet.embedder.embedder.normalization.weight",
    "scale_conv1:1": "resnet.embedder.embedder.normalization.bias",
    "res2a_branch1/0": "resnet.encoder.stages.0.layers.0.shortcut.convolution.weight",
    "bn2a_branch1/mean": "resnet.encoder.stages.0.layers.0.shortcut.normalization.running_mean",
    "scale2a_branch1/1": "resnet.encoder.stages.0.layers.0.shortcut.normalization.bias",
    "res5c_branch2b/weight": "resnet.encoder.stages.3.layers.2.layer.1.convolution.weight",
    "res4f_branch2a/0": "resnet.encoder.stages.2.layers.5.layer.0.convolution.weight",
    "res3b7_branch2c/0": "resnet.encoder.stages.1.layers.7.layer.2.convolution.weight",
    "bn4b22_branch2a/variance": "resnet.encoder.stages.2.layers.22.layer.0.normalization.running_var",
    "scale4b35_branch2c/gamma": "resnet.encoder.stages.2.layers.35.layer.2.normalization.weight",
    "fc1000/1": "classifier.1.bias",
}


@pytest.mark.parametrize(
    ("naming", "pairs"),
    [
        ("torchvision", TORCHVISION_PAIRS),
        ("timm", TIMM_DEEP_PAIRS),
        ("cifar", CIFAR_PAIRS),
        ("keras", KERAS_PAIRS),
        ("caffe", CAFFE_PAIRS),
        ("transformers", {value: value for value in TORCHVISION_PAIRS.values()}),
    ],
)
def test_names_mean_what_the_frameworks_say(naming: str, pairs: dict[str, str]) -> None:
    raw = {name: np.full(3, i, np.float32) for i, name in enumerate(pairs)}
    canonical, found = to_canonical(raw)
    assert found == naming
    assert {new: int(array[0]) for new, array in canonical.items()} == {new: i for i, new in enumerate(pairs.values())}


@pytest.mark.parametrize("tag", sorted(MODELS))
def test_golden_models_rename_onto_the_canonical_names_and_back(tag: str) -> None:
    raw = placeholders(golden_shapes(tag))
    canonical, naming = to_canonical(raw)
    assert naming == ("timm" if tag == "timm_resnet18d" else "torchvision")
    assert {name: array.shape for name, array in canonical.items()} == resnet_shapes(**MODELS[tag])
    back = from_canonical(canonical, naming, shortcut_type_of(raw) or "projection")
    assert list(back) == list(raw)
    assert all(back[name] is raw[name] for name in raw)


@pytest.mark.parametrize(
    ("tag", "keys", "learnable"),
    [
        ("torchvision_resnet18", 122, 62),
        ("timm_resnet34_gray", 218, 110),
        ("torchvision_resnet50", 320, 161),
        ("torchvision_wide_resnet101_2", 626, 314),
        ("torchvision_resnet152", 932, 467),
    ],
)
def test_nothing_gets_lost(tag: str, keys: int, learnable: int) -> None:
    canonical, _ = to_canonical(placeholders(golden_shapes(tag)))
    assert len(canonical) == keys
    assert sum(name.rsplit(".", 1)[1] in ("weight", "bias") for name in canonical) == learnable


def test_wrappers_and_profiler_counters_are_dropped() -> None:
    plain = placeholders(golden_shapes("torchvision_resnet18"))
    raw = {f"module._orig_mod.{key}": array for key, array in plain.items()}
    raw |= {"total_ops": np.ones(1), "module.layer1.0.conv1.total_params": np.ones(1)}
    assert to_canonical(raw)[0].keys() == to_canonical(plain)[0].keys()


def test_prefix_and_head_are_optional_in_transformers() -> None:
    full = placeholders(resnet_shapes(depths=(2, 2, 2, 2), **BASIC))
    body = {key.removeprefix("resnet."): array for key, array in full.items() if key.startswith("resnet.")}
    canonical, naming = to_canonical(body)
    assert naming == "transformers"
    assert list(canonical) == [key for key in full if key.startswith("resnet.")]


def test_head_is_optional_in_torchvision() -> None:
    raw = golden_shapes("torchvision_resnet18")
    del raw["fc.weight"], raw["fc.bias"]
    assert len(to_canonical(placeholders(raw))[0]) == 120


def paper_cifar_shapes(head: str, shortcut: str | None) -> dict[str, tuple[int, ...]]:
    """ResNet-20 as akamaster's (option A, ``linear``) and others write it, without num_batches_tracked."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(conv: str, bn: str, out: int, inp: int, kernel: int) -> None:
        shapes[f"{conv}.weight"] = (out, inp, kernel, kernel)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{bn}.{name}"] = (out,)

    add("conv1", "bn1", 16, 3, 3)
    inp = 16
    for s, out in enumerate((16, 32, 64), 1):
        for b in range(3):
            add(f"layer{s}.{b}.conv1", f"layer{s}.{b}.bn1", out, inp, 3)
            add(f"layer{s}.{b}.conv2", f"layer{s}.{b}.bn2", out, out, 3)
            if shortcut and inp != out:
                add(f"layer{s}.{b}.{shortcut}.0", f"layer{s}.{b}.{shortcut}.1", out, inp, 1)
            inp = out
    shapes |= {f"{head}.weight": (10, 64), f"{head}.bias": (10,)}
    return shapes


@pytest.mark.parametrize("head", ["linear", "fc"])
@pytest.mark.parametrize("shortcut", [None, "shortcut", "downsample"])
def test_cifar_checkpoints(head: str, shortcut: str | None) -> None:
    raw = placeholders(paper_cifar_shapes(head, shortcut))
    canonical, naming = to_canonical(raw)
    expected = resnet_shapes(
        (3, 3, 3), (16, 32, 64), "basic", 16, stem=((16, 3),), shortcuts=shortcut is not None, num_labels=10
    )
    expected = {name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")}
    assert naming == "cifar"
    assert {name: array.shape for name, array in canonical.items()} == expected
    back = from_canonical(canonical, "cifar")
    assert back.keys() == paper_cifar_shapes("linear", "shortcut" if shortcut else None).keys()


def test_layers_named_by_class_only_are_refused_with_the_way_out() -> None:
    raw = {f"layers/conv2d_{i}/vars/0": np.zeros((1, 1, 4, 4)) for i in range(1, 9)}
    with pytest.raises(CheckpointError, match=r"only by class and number.*numpy\.savez.*w\.path"):
        to_canonical(raw | {"optimizer/vars/0": np.zeros(1)})


@pytest.mark.parametrize(
    "keys",
    [
        ["features.0.weight", "features.0.bias", "features.2.weight", "classifier.1.weight", "classifier.6.weight"],
        ["cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "head.weight"],
        ["vit.encoder.layer.0.attention.attention.query.weight", "classifier.weight"],
        ["features.conv0.weight", "features.denseblock1.denselayer1.conv1.weight", "classifier.weight"],
        ["conv1.weight", "conv2.weight", "fc1.weight", "fc.bias"],
        ["block1_conv1/block1_conv1/kernel:0", "predictions/predictions/kernel:0"],
        ["prefix.layer1.0.conv1.weight", "layer1.0.conv1x.weight", "layer01.0.conv1.weight", "layer0.0.conv1.weight"],
    ],
)
def test_other_networks_are_refused_by_name(keys: list[str]) -> None:
    with pytest.raises(CheckpointError, match="no ResNet") as caught:
        to_canonical({key: np.zeros(1) for key in keys})
    assert keys[0] in str(caught.value)
    assert all(naming in str(caught.value) for naming in NAMINGS)


def test_no_arrays_are_refused() -> None:
    with pytest.raises(CheckpointError, match="no arrays"):
        to_canonical({})


@pytest.mark.parametrize(
    "extra",
    ["layer1.0.se.fc1.weight", "layer1.0.conv1.weight_orig", "bn1.weight.x", "layer1.0.bn1.eps", "layer1.00.bn1.bias"],
)
def test_further_arrays_are_refused_by_name(extra: str) -> None:
    raw = placeholders(golden_shapes("torchvision_resnet18")) | {extra: np.zeros(1)}
    with pytest.raises(CheckpointError, match=f"1 of 123 arrays do not belong.*torchvision.*'{extra}'"):
        to_canonical(raw)


@pytest.mark.parametrize(
    ("one", "other", "block", "meaning"),
    [
        ("conv1.weight", "module.conv1.weight", "layer1.0.conv1.weight", "embedder.convolution.weight"),
        (
            "layer1.0.shortcut.0.weight", "layer1.0.downsample.0.weight", "layer1.0.conv1.weight",
            "stages.0.layers.0.shortcut.convolution.weight",
        ),
        ("res4b_branch2a/0", "res4b1_branch2a/0", "res2a_branch2a/0", "stages.2.layers.1.layer.0.convolution.weight"),
        (
            "conv1_conv/kernel:0", "conv1_conv/conv1_conv/kernel:0", "conv2_block1_1_conv/kernel",
            "embedder.convolution.weight",
        ),
    ],
)  # fmt: skip
def test_two_arrays_of_one_meaning_are_refused(one: str, other: str, block: str, meaning: str) -> None:
    with pytest.raises(CheckpointError, match=f"'{one}' and '{other}' both mean .*{meaning}"):
        to_canonical({key: np.zeros((2, 2, 1, 1)) for key in (one, other, block)})


def test_namings_that_cannot_be_written() -> None:
    plain = placeholders(resnet_shapes(depths=(1, 1, 1, 1), **BOTTLENECK))
    deep = placeholders(resnet_shapes((1,), (64,), "basic", stem=((32, 3), (32, 3), (64, 3))))
    with pytest.raises(CheckpointError, match="unknown naming 'mxnet'; known are transformers"):
        from_canonical(plain, "mxnet")
    for naming in ("keras", "caffe"):
        with pytest.raises(CheckpointError, match="read but not written"):
            from_canonical(plain, naming)
    for naming in ("torchvision", "cifar"):
        with pytest.raises(CheckpointError, match=r"embedder\.0\.convolution\.weight' has no name.*'timm'"):
            from_canonical(deep, naming)
        with pytest.raises(CheckpointError, match=r"shortcut\.convolution\.weight' has no name.*'timm'"):
            from_canonical(plain, naming, shortcut_type="avg_down")
    for bad in ("embedder.embedder.convolution.weight", f"{BLOCK}.layer.0.convolution.bias2", "conv1.weight"):
        with pytest.raises(CheckpointError, match=f"{bad}' has no name"):
            from_canonical({bad: np.zeros(1)}, "torchvision")
