"""The models: structure, shapes, state, freezing, backward passes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from agreement import agree
from small import BASIC, BOTTLENECK, CIFAR, RESNET_D, network, pixels, randomize

import npresnet
from npresnet import ResNetBackbone, ResNetConfig, ResNetForImageClassification, preset
from npresnet.nn import Activation, BatchNorm2d, Conv2d, Identity, Linear

FAMILIES = {"basic": BASIC, "bottleneck": BOTTLENECK, "cifar": CIFAR, "resnet_d": RESNET_D}


def test_import_is_light() -> None:
    heavy = ("numba", "torch", "PIL", "scipy", "rich", "h5py", "safetensors", "transformers", "urllib.request")
    code = f"import sys, npresnet; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


# ------------------------------------------------------------------------------------------------------ structure


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_stages_come_out_at_56_28_14_and_7(name: str) -> None:
    model = ResNetForImageClassification(preset(name), seed=0)
    states = model(pixels(1, 3, 224, 224), output_hidden_states=True).hidden_states
    widths = (64, 64, 128, 256, 512) if name == "resnet18" else (64, 256, 512, 1024, 2048)
    assert [s.shape for s in states] == [(1, c, n, n) for c, n in zip(widths, (56, 56, 28, 14, 7), strict=True)]


def test_the_v1_flag_moves_the_stride() -> None:
    for flag in (False, True):
        model = ResNetForImageClassification(preset("resnet50", downsample_in_bottleneck=flag), _initialize=False)
        strides = {name: m.stride for name, m in model.named_modules() if isinstance(m, Conv2d) and m.stride > 1}
        moved = 0 if flag else 1
        expected = {"resnet.embedder.embedder.convolution": 2}
        for stage in (1, 2, 3):
            first = f"resnet.encoder.stages.{stage}.layers.0"
            expected |= {f"{first}.shortcut.convolution": 2, f"{first}.layer.{moved}.convolution": 2}
        assert strides == expected


# Keys of the state dict of torchvision and Transformers.
@pytest.mark.parametrize(("depth", "count"), [(18, 122), (34, 218), (50, 320), (101, 626), (152, 932)])
def test_number_of_arrays(depth: int, count: int) -> None:
    model = getattr(npresnet, f"ResNet{depth}")(_initialize=False)
    state = model.state_dict()
    assert len(state) == count
    assert len(model.state_dict("torchvision")) == count
    assert next(iter(state)) == "resnet.embedder.embedder.convolution.weight"
    assert list(state)[-1] == "classifier.1.bias"
    assert all(name.startswith(("resnet.", "classifier.1.")) for name in state)


@pytest.mark.parametrize("fields", [BASIC, BOTTLENECK])
def test_hidden_act_is_that_of_stem_and_sums(fields: dict[str, Any]) -> None:
    """Between the convolutions of a residual layer Transformers always has ReLU."""
    model = network(**{**fields, "hidden_act": "silu"})
    names = {name: m.name for name, m in model.named_modules() if isinstance(m, Activation)}
    inside = {name for name in names if ".layer." in name}
    assert len(inside) == sum(fields["depths"]) * (1 if fields is BASIC else 2)
    assert {names[name] for name in inside} == {"relu"}
    assert {names[name] for name in names.keys() - inside} == {"silu"}


@pytest.mark.parametrize(("side", "expected"), [(224, (56, 56)), (64, (16, 16)), (66, (17, 16)), (65, (17, 16))])
def test_stem_pools(side: int, expected: tuple[int, int]) -> None:
    """3x3 windows with stride 2: padded by one, or as in Caffe from the first pixel to beyond the last."""
    half = pixels(1, 6, -(-side // 2), -(-side // 2))
    found = {kind: network(stem_pool=kind).resnet.embedder.pooler(half) for kind in ("max", "caffe")}
    assert (found["max"].shape[2], found["caffe"].shape[2]) == expected
    assert np.array_equal(found["max"][0, :, 0, 0], half[0, :, :2, :2].max(axis=(1, 2)))
    assert np.array_equal(found["caffe"][0, :, 0, 0], half[0, :, :3, :3].max(axis=(1, 2)))
    last = 2 * (expected[1] - 1)
    assert np.array_equal(found["caffe"][0, :, -1, -1], half[0, :, last:, last:].max(axis=(1, 2)))


def test_downsampling_in_the_first_stage_is_no_dilation() -> None:
    model = network(downsample_in_first_stage=True, hidden_sizes=(6, 8, 8, 8), depths=(1, 1, 1, 1))
    states = model(pixels(1, 3, 64, 64), output_hidden_states=True).hidden_states
    assert [s.shape[2] for s in states] == [16, 8, 4, 2, 1]
    assert [info["reduction"] for info in model.feature_info] == [2, 8, 16, 32, 64]
    assert model.resnet.encoder.stages[0].layers[0].shortcut.convolution.stride == 2


def test_initialisation() -> None:
    model = ResNetForImageClassification(preset("resnet50", num_labels=100), seed=0)
    for name, module in model.named_modules():
        if isinstance(module, Conv2d):
            fan_out = module.weight.shape[0] * module.weight.shape[2] ** 2
            values = module.weight.data
            assert abs(values.std() / np.sqrt(2 / fan_out) - 1) < 5 / np.sqrt(2 * values.size), name
            assert abs(values.mean()) < 5 * values.std() / np.sqrt(values.size), name
        elif isinstance(module, Linear):
            bound = 1 / np.sqrt(2048)
            for values in (module.weight.data, module.bias.data):
                assert 0.9 * bound < np.abs(values).max() <= bound
            assert abs(module.weight.data.std() / (bound / np.sqrt(3)) - 1) < 0.01
        elif isinstance(module, BatchNorm2d):
            constants = (module.weight.data, module.bias.data, module.running_mean, module.running_var)
            for values, constant in zip(constants, (1, 0, 0, 1), strict=True):
                assert (values == constant).all()


def test_the_seed_decides_everything() -> None:
    first, same, other = (ResNetForImageClassification(seed=s, **BASIC).state_dict() for s in (1, 1, 2))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("fields", [BASIC, BOTTLENECK])
def test_zero_init_last(fields: dict[str, Any]) -> None:
    model = ResNetForImageClassification(seed=0, zero_init_last=True, **fields)
    zero = [name for name, p in model.named_parameters() if name.endswith("normalization.weight") and not p.data.any()]
    last = 1 if fields is BASIC else 2
    assert len(zero) == sum(fields["depths"])
    assert all(f".layer.{last}." in name for name in zero)


def test_wrong_input_is_refused_with_what_to_do() -> None:
    model = network()
    with pytest.raises(ValueError, match=r"4 channels .* num_channels=3.* load with num_channels=4"):
        model(pixels(1, 4, 32, 32))
    with pytest.raises(TypeError, match=r"must be float32 or float64, found uint8; model\.processor"):
        model(np.zeros((1, 3, 32, 32), np.uint8))
    with pytest.raises(ValueError, match=r"\(N, C, H, W\).*\(3, 32, 32\)"):
        model(pixels(3, 32, 32))
    with pytest.raises(TypeError, match="float64"):
        model(pixels(dtype="float64"))
    with pytest.raises(TypeError, match="config must be a ResNetConfig, found 10; fields go by name"):
        ResNetForImageClassification(10)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_one_image_at_a_time_gives_the_same(family: str) -> None:
    model = network(**FAMILIES[family])
    x = pixels(3, 3, 33, 47)
    together = model(x).logits
    alone = np.concatenate([model(x[i : i + 1]).logits for i in range(3)])
    agree("batch or single images", together, alone, 1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_backends_agree(family: str) -> None:
    model = network(dtype="float64", **FAMILIES[family]).train()
    x, results = pixels(3, 3, 35, 32, dtype="float64"), {}
    state = model.state_dict()
    for name in ("numpy", "numba"):
        with npresnet.use_backend(name):
            model.load_state_dict(state)
            out = model(x, labels=[0, 1, 4])
            dx = model.backward(input_gradient=True)
        results[name] = {"loss": out.loss, "dx": dx} | {n: p.grad for n, p in model.named_parameters()}
    for name, value in results["numpy"].items():
        agree(f"backends: {name}", results["numba"][name], value, 1e-9)


# --------------------------------------------------------------------------------------------------------- outputs


def test_outputs_as_objects_mappings_and_tuples() -> None:
    model, x = network(), pixels()
    out = model(x, labels=[1, 2], output_hidden_states=True)
    assert out.keys() == ["loss", "logits", "hidden_states"]
    assert out[0] == out["loss"] == out.loss
    assert out[1] is out.logits
    assert list(out) == out.keys()
    assert len(out) == 3
    loss, logits, states = model(x, labels=[1, 2], output_hidden_states=True, return_dict=False)
    assert loss == out.loss
    assert np.array_equal(logits, out.logits)
    assert len(states) == 3
    assert len(model(x, return_dict=False)) == 1
    with pytest.raises(KeyError, match="has no field 'hidden_states' here; it has"):
        model(x)["hidden_states"]

    by_config = network(output_hidden_states=True, return_dict=False)
    assert len(by_config(x)) == 2
    assert by_config(x, output_hidden_states=False, return_dict=True).hidden_states is None
    last, pooled, states = by_config.resnet(x)
    assert np.array_equal(last, states[-1])
    np.testing.assert_allclose(pooled, last.mean(axis=(2, 3), keepdims=True), rtol=1e-5, atol=1e-6)
    assert by_config.predict(np.zeros((40, 40, 3), np.uint8))  # needs logits whatever the configuration says


def test_the_problem_type_decides_the_loss_and_labels_decide_it_otherwise() -> None:
    x, scores, rates = pixels(), np.array([[0.5, -1], [2, 3]]), np.array([[0, 1], [0.25, 0.5]])

    def loss(labels: Any, **fields: Any) -> tuple[float, np.ndarray]:
        out = network(**fields)(x, labels=labels)
        return out.loss, out.logits.astype(np.float64)

    for problem_type in (None, "single_label_classification"):
        found, z = loss([1, 0], num_labels=2, problem_type=problem_type)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        assert found == pytest.approx(-np.log([p[0, 1], p[1, 0]]).mean(), rel=1e-5)
    for problem_type in (None, "multi_label_classification"):
        found, z = loss(rates, num_labels=2, problem_type=problem_type)
        p = 1 / (1 + np.exp(-z))
        assert found == pytest.approx(-(rates * np.log(p) + (1 - rates) * np.log(1 - p)).mean(), rel=1e-5)
    found, z = loss(scores, num_labels=2, problem_type="regression")
    assert found == pytest.approx(((z - scores) ** 2).mean(), rel=1e-5)
    for labels in ([0.5, -1.5], [[0.5], [-1.5]]):
        found, z = loss(labels, num_labels=1)
        assert found == pytest.approx(((z - [[0.5], [-1.5]]) ** 2).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="label 7 of sample 1 is not one of the 5 classes"):
        loss([0, 7])
    with pytest.raises(ValueError, match="belong to cross-entropy; this model does regression"):
        network(problem_type="regression")(x, labels=np.zeros((2, 5)), label_smoothing=0.1)


def test_backbone() -> None:
    config = ResNetConfig(**BOTTLENECK, out_features=("stem", "stage2"))
    backbone = randomize(ResNetBackbone(config, seed=0))
    assert backbone.stage_names == ["stem", "stage1", "stage2", "stage3"]
    assert (backbone.out_features, backbone.out_indices) == (["stem", "stage2"], [0, 2])
    assert (backbone.channels, backbone.num_features) == ([8, 24], [8, 16, 24, 32])
    out = backbone(pixels(), output_hidden_states=True)
    assert [m.shape for m in out.feature_maps] == [(2, 8, 8, 8), (2, 24, 4, 4)]
    assert np.array_equal(out.feature_maps[1], out.hidden_states[2])
    assert backbone(pixels()).hidden_states is None
    last = ResNetBackbone(seed=0, out_indices=(-1,), **BOTTLENECK)
    assert (last.out_features, last.channels) == (["stage3"], [32])


# ----------------------------------------------------------------------------------------------------------- state


def test_state_dict_gives_copies() -> None:
    model = network()
    state = model.state_dict()
    for array in state.values():
        array[...] = 7
    assert not any((array == 7).all() for array in model.state_dict().values())


@pytest.mark.parametrize("naming", ["transformers", "torchvision", "timm", "cifar"])
def test_state_dict_in_every_naming(naming: str) -> None:
    fields = CIFAR | {"shortcut_type": "projection"} if naming == "cifar" else BOTTLENECK
    model, other = network(**fields), ResNetForImageClassification(seed=9, **fields)
    result = other.load_state_dict(model.state_dict(naming))
    assert result == ([], [])
    assert np.array_equal(other(pixels()).logits, model(pixels()).logits)


def test_counters_may_be_missing() -> None:
    model = network()
    state = {name: array for name, array in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert ResNetForImageClassification(seed=9, **BASIC).load_state_dict(state) == ([], [])


@pytest.mark.parametrize("strict", [True, False])
def test_a_failed_load_changes_nothing(strict: bool) -> None:
    model = network()
    before = model.state_dict()
    wrong = {name: array + 1 for name, array in before.items()}
    wrong["classifier.1.weight"] = np.zeros((7, 12))
    with pytest.raises(ValueError, match=r"classifier.1.weight: expected shape \(5, 12\), found \(7, 12\)"):
        model.load_state_dict(wrong, strict)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())


def test_strict_and_lenient_loading() -> None:
    model = network()
    before = model.state_dict()
    partly = {"classifier.1.bias": np.arange(5.0), "extra": np.zeros(3)}
    with pytest.raises(ValueError, match=r"missing, expected shape .*(?s:.*)extra: unexpected, found shape \(3,\)"):
        model.load_state_dict(partly)
    result = model.load_state_dict(partly, strict=False)
    assert result.unexpected_keys == ["extra"]
    counters = sum(name.endswith("num_batches_tracked") for name in before)
    assert len(result.missing_keys) == len(before) - counters - 1
    assert np.array_equal(model.state_dict()["classifier.1.bias"], np.arange(5))
    assert np.array_equal(model.state_dict()["classifier.1.weight"], before["classifier.1.weight"])


def test_astype() -> None:
    model = network()
    single = model(pixels()).logits
    assert model.astype(np.float64).dtype == np.float64
    assert all(array.dtype in (np.float64, np.int64) for array in model.state_dict().values())
    double = model(pixels(dtype="float64")).logits
    assert double.dtype == np.float64
    agree("float32 or float64", single, double, 1e-5)
    with pytest.raises(TypeError, match="float32 or float64, not in float16"):
        model.astype(np.float16)


# -------------------------------------------------------------------------------------------------------- features


@pytest.mark.parametrize(
    ("fields", "reductions", "channels"),
    [
        (BASIC, [2, 4, 8], [6, 8, 12]),
        (BOTTLENECK, [2, 4, 8, 16], [8, 16, 24, 32]),
        (CIFAR, [1, 1, 2, 4], [4, 4, 8, 16]),
        (RESNET_D, [2, 4, 8, 8], [8, 16, 24, 32]),
    ],
    ids=FAMILIES,
)
def test_intermediates(fields: dict[str, Any], reductions: list[int], channels: list[int]) -> None:
    model, x = network(**fields), pixels(2, 3, 64, 48)
    maps = model.forward_intermediates(x)
    assert [m.shape for m in maps] == [(2, c, 64 // r, 48 // r) for c, r in zip(channels, reductions, strict=True)]
    assert [info["reduction"] for info in model.feature_info] == reductions
    assert [info["num_chs"] for info in model.feature_info] == channels
    with model.trace() as seen:
        out = model(x, output_hidden_states=True)
    for found, info in zip(maps, model.feature_info, strict=True):
        assert np.array_equal(found, seen[info["module"]])
    for found, expected in zip(maps[1:], out.hidden_states[1:], strict=True):
        assert np.array_equal(found, expected)
    first, last = model.forward_intermediates(x, [0, -1])
    assert np.array_equal(first, maps[0])
    assert np.array_equal(last, maps[-1])
    with pytest.raises(ValueError, match="must lie in"):
        model.forward_intermediates(x, [9])


@pytest.mark.parametrize("family", FAMILIES)
def test_features_and_head_are_the_model_in_two_halves(family: str) -> None:
    model, x = network(**FAMILIES[family]), pixels()
    features = model.forward_features(x)
    assert np.array_equal(features, model.resnet(x).last_hidden_state)
    assert np.array_equal(model.forward_head(features), model(x).logits)
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.config.num_features)
    assert np.array_equal(model.get_classifier()(pooled), model(x).logits)


def test_reset_classifier() -> None:
    model, x = network(id2label=dict(enumerate("abcde"))), pixels()
    features = model.forward_features(x)
    model.reset_classifier(3)
    assert model(x).logits.shape == (2, 3)
    assert (model.config.num_labels, model.config.id2label[2]) == (3, "LABEL_2")
    weight = model.get_classifier().weight.data
    assert weight.std() > 0
    assert np.abs(weight).max() <= 1 / np.sqrt(12)
    assert np.array_equal(model.forward_features(x), features)

    model.astype(np.float64).train().reset_classifier(2, "catavgmax", {0: "cat", 1: "dog"})
    assert (model.config.global_pool, model.config.id2label) == ("catavgmax", {0: "cat", 1: "dog"})
    out = model(x.astype(np.float64), labels=[0, 1])
    assert out.logits.dtype == np.float64
    model.backward()
    assert model.get_classifier().weight.grad.shape == (2, 24)
    assert model.eval().predict(np.zeros((40, 40, 3), np.uint8))[0].label in ("cat", "dog")

    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), Identity)
    assert model(x.astype(np.float64)).logits.shape == (2, 24)
    with pytest.raises(ValueError, match=r"no classifier .* call reset_classifier"):
        model.predict(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ValueError, match="num_labels"):
        model.reset_classifier(-1)
