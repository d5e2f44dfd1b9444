"""Loading and saving models: every target, overrides, missing and foreign parts, one clear error for each fault."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import agree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import BASIC, BOTTLENECK, CIFAR, RESNET_D, configurations, network, pictures, pixels, randomize

import npresnet
from npresnet import (
    CheckpointError,
    ImageProcessor,
    ResNetBackbone,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
)

FAMILIES = {"basic": BASIC, "bottleneck": BOTTLENECK, "cifar": CIFAR, "resnet_d": RESNET_D}
TARGETS = ("model.npz", "model.safetensors", "model")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:Transformers' ResNet has no")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_save_and_load(family: str, target: str) -> None:
    model = network(**FAMILIES[family], dropout=0.1)
    model.processor = ImageProcessor.torchvision(40, 32)
    model.save(target)
    for found in (npresnet.load(target), ResNetForImageClassification.load(Path(target))):
        assert type(found) is ResNetForImageClassification
        assert found.config == model.config
        assert found.processor == model.processor
        assert not found.training
        assert found.state_dict().keys() == model.state_dict().keys()
        assert all(np.array_equal(array, model.state_dict()[name]) for name, array in found.state_dict().items())
        assert found.predict(pictures()) == model.predict(pictures())


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=configurations(), target=st.sampled_from(TARGETS))
def test_every_configuration_survives(config: ResNetConfig, target: str) -> None:
    model = randomize(ResNetForImageClassification(config, seed=0))
    shutil.rmtree("model", ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Transformers lacks some of it
        model.save(target)
    found = npresnet.load(target)
    assert found.config == config
    x = pixels(1, config.num_channels, 40, 40)
    assert np.array_equal(found(x).logits, model(x).logits)


def test_a_loaded_model_owns_its_arrays() -> None:
    network().save("a.npz")
    content = Path("a.npz").read_bytes()
    model = npresnet.load("a.npz").train()
    for parameter in model.parameters():
        parameter.data += 1
    model(pixels())
    assert Path("a.npz").read_bytes() == content
    model.save("a.npz")
    agree("saved over the file it came from", npresnet.load("a.npz")(pixels()).logits, model.eval()(pixels()).logits, 0)


def test_float64() -> None:
    model = network(dtype="float64")
    model.load_state_dict({name: array + 1e-12 for name, array in model.state_dict().items()})
    model.save("a.npz")
    with np.load("a.npz") as file:
        assert file["classifier.1.weight"].dtype == np.float64
    double = npresnet.load("a.npz", dtype=np.float64)
    assert double.dtype == np.float64
    assert np.array_equal(double(pixels(dtype="float64")).logits, model(pixels(dtype="float64")).logits)
    assert npresnet.load("a.npz").dtype == np.float32
    with pytest.raises(TypeError, match="float32 or float64, not in int8"):
        npresnet.load("a.npz", dtype=np.int8)


# ------------------------------------------------------------------------------------------- with and without a head


def test_a_headless_model_from_a_full_file() -> None:
    full = network(**BOTTLENECK)
    full.save("full.npz")
    states = full(pixels(), output_hidden_states=True).hidden_states
    model = ResNetModel.load("full.npz")
    assert np.array_equal(model(pixels()).last_hidden_state, states[-1])
    backbone = ResNetBackbone.load("full.npz", out_features=("stage1", "stage3"))
    assert backbone.channels == [16, 32]
    for found, expected in zip(backbone(pixels()).feature_maps, (states[1], states[3]), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", [ResNetModel, ResNetBackbone])
def test_a_full_model_from_a_headless_file(kind: type, target: str) -> None:
    body = network(kind)
    body.save(target)
    model = ResNetForImageClassification.load(target)
    assert model.config.num_labels == 0
    features = model(pixels()).logits
    np.testing.assert_allclose(features, body(pixels())[0].mean(axis=(2, 3)) if kind is ResNetModel else features)
    model.reset_classifier(3)
    assert model(pixels()).logits.shape == (2, 3)
    assert np.array_equal(kind.load(target)(pixels())[0], body(pixels())[0])
    with pytest.raises(CheckpointError, match=r"no classifier, .* num_labels=4; .*reset_classifier\(4\)"):
        npresnet.load(target, num_labels=4)


# --------------------------------------------------------------------------------------------------------- overrides


def test_overrides_that_change_the_computation_only() -> None:
    model = network(**BOTTLENECK)
    model.save("a.npz")
    state, x = model.state_dict(), pixels(2, 3, 64, 64)
    for fields in (
        {"output_stride": 8}, {"global_pool": "avgmax"}, {"downsample_in_bottleneck": True}, {"hidden_act": "gelu"},
        {"batch_norm_eps": 1e-3}, {"stem_pool": "caffe"},
    ):  # fmt: skip
        expected = ResNetForImageClassification(model.config.replace(**fields), seed=0)
        expected.load_state_dict(state)
        found = npresnet.load("a.npz", **fields)
        assert found.config == expected.config
        assert np.array_equal(found(x).logits, expected(x).logits)
        assert not np.array_equal(found(x).logits, model(x).logits), f"{fields} changes nothing"
    for fields in ({"drop_path_rate": 0.3}, {"dropout": 0.3}, {"problem_type": "multi_label_classification"}):
        found = npresnet.load("a.npz", **fields)
        assert np.array_equal(found(x).logits, model(x).logits)
        assert {name: getattr(found.config, name) for name in fields} == fields
    names = dict(enumerate("abcde"))
    assert npresnet.load("a.npz", id2label=names).predict(pictures())[0][0].label in "abcde"


def test_overriding_the_number_of_labels() -> None:
    model = network()
    model.save("a.npz")
    without = npresnet.load("a.npz", num_labels=0)
    assert np.array_equal(without(pixels()).logits, model.forward_head(model.forward_features(pixels()), True))
    with pytest.raises(CheckpointError, match=r"a classifier for 5 labels, .* num_labels=3; .*reset_classifier\(3\)"):
        npresnet.load("a.npz", num_labels=3)
    with pytest.raises(ValueError, match="unknown configuration field 'ouput_stride'; did you mean 'output_stride'"):
        npresnet.load("a.npz", ouput_stride=8)


def test_other_numbers_of_input_channels() -> None:
    model = network()
    model.save("a.npz")
    grey = npresnet.load("a.npz", num_channels=1)
    x = pixels(2, 1, 32, 32)
    agree("grey pixels", grey(x).logits, model(np.repeat(x, 3, axis=1)).logits, 1e-5)
    assert grey.processor.num_channels == 1
    picture = np.repeat(pictures(channels=1)[0], 3, axis=2)
    assert len(grey.predict(picture)) == 5

    four = npresnet.load("a.npz", num_channels=4)
    red, green, blue = (pixels(2, 1, 32, 32, seed=s) for s in range(3))
    kernels = model.state_dict()["resnet.embedder.embedder.convolution.weight"]
    found = four.state_dict()["resnet.embedder.embedder.convolution.weight"]
    agree("adapted kernels", found, kernels[:, [0, 1, 2, 0]] * 0.75, 1e-6)
    assert four(np.concatenate([red, green, blue, red], axis=1)).logits.shape == (2, 5)
    with pytest.raises(ValueError, match=r"this model takes num_channels=4; call it with pixel_values"):
        four.predict(picture)
    four.save("four.npz")
    assert npresnet.load("four.npz").config.num_channels == 4
    with pytest.raises(CheckpointError, match="takes 4 channels and cannot be fitted to 2"):
        npresnet.load("four.npz", num_channels=2)


def test_a_named_class_insists_on_its_architecture() -> None:
    npresnet.ResNet18(num_labels=3, seed=0).save("r18.npz")
    assert type(npresnet.ResNet18.load("r18.npz")) is npresnet.ResNet18
    with pytest.raises(CheckpointError) as raised:
        npresnet.ResNet50.load("r18.npz")
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("the weights do not fit this ResNet50 (bottleneck, depths (3, 4, 6, 3)")
    first = "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"
    assert lines[1].strip() == f"{first}: expected shape (64, 64, 1, 1), found (64, 64, 3, 3)"
    assert any("layers.0.shortcut.convolution.weight: missing, expected shape (256, 64, 1, 1)" in s for s in lines)
    assert len(lines) < 25


# ------------------------------------------------------------------------------------------------------------ faults


def save_state(path: str, change: Any = None) -> None:
    """A file in torchvision's naming, with something changed."""
    state = network().state_dict("torchvision")
    if change:
        change(state)
    np.savez(path, **state)


def nan(state: dict[str, np.ndarray]) -> None:
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = np.nan


def missing(state: dict[str, np.ndarray]) -> None:
    del state["layer2.0.bn1.running_var"]


def misshapen(state: dict[str, np.ndarray]) -> None:
    state["layer2.0.conv1.weight"] = np.zeros((12, 9, 3, 3), np.float32)


def foreign(state: dict[str, np.ndarray]) -> None:
    state.clear()
    state["features.0.weight"] = np.zeros((64, 3, 3, 3), np.float32)


def extra(state: dict[str, np.ndarray]) -> None:
    state["aux.fc.weight"] = np.zeros((5, 5), np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan, r"layers.0.layer.0.convolution.weight holds 1 values that are NaN or infinite"),
        (missing, r"stages.1.layers.0.layer.0.normalization.running_var: missing, expected shape \(12,\)"),
        (misshapen, r"expected shape \(12, 8, 3, 3\), found \(12, 9, 3, 3\)"),
        (foreign, r"no ResNet: the 1 arrays are named 'features.0.weight'"),
        (extra, r"1 of 57 arrays do not belong to a ResNet in the torchvision naming: 'aux.fc.weight'"),
    ],
)
def test_faulty_weights(change: Any, message: str) -> None:
    save_state("good.npz")
    npresnet.load("good.npz")
    save_state("a.npz", change)
    for kind in (ResNetForImageClassification, ResNetModel):
        with pytest.raises(CheckpointError, match=message) as raised:
            kind.load("a.npz")
        assert str(raised.value).startswith("a.npz: ")


def test_faulty_files() -> None:
    network().save("a.npz")
    content = Path("a.npz").read_bytes()
    for length in (0, 3, 100, len(content) // 2, len(content) - 10):
        Path("b.npz").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"^b\.npz: "):
            npresnet.load("b.npz")
    for text in (b"hello world, this is no checkpoint", b"<html><body>404</body></html>", b"\x80\x04N."):
        Path("b.npz").write_bytes(text)
        with pytest.raises(CheckpointError, match=r"^b\.npz: "):
            npresnet.load("b.npz")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at nowhere\.npz"):
        npresnet.load("nowhere.npz")
    Path("empty").mkdir()
    with pytest.raises(CheckpointError, match=r"^empty: the directory holds no weights"):
        npresnet.load("empty")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "vit"}, "describes a 'vit' model"),
        (
            {"depths": [2, 2]},
            r"do not fit the configuration .*\n.*stages.1.layers.1.layer.0.convolution.weight: missing",
        ),
        ({"hidden_act": "softmax"}, "hidden_act='softmax' is not known"),
        ({"n_layers": 3}, "unknown configuration field 'n_layers'"),
    ],
)
def test_faulty_configurations(changes: dict[str, Any], message: str) -> None:
    network().save("model")
    path = Path("model/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        npresnet.load("model")


# -------------------------------------------------------------------------------------------------------- saving


def test_other_suffixes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot write '\.pth' files; use \.npz, \.safetensors, or a directory"):
        network().save("a.pth")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        network().save("nowhere/a.npz")
    assert not list(Path().iterdir())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("existing", [False, True])
def test_a_failed_save_leaves_everything_as_it_was(
    target: str, existing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    model = network()
    if existing:
        model.save(target)
    before = content()
    model.load_state_dict({name: array + 1 for name, array in model.state_dict().items()})

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace" if existing or target != "model" else "os.rename", full_disk)
        with pytest.raises(OSError, match="No space left"):
            model.save(target)
    assert content() == before
    assert existing or not Path(target).exists()
    model.save(target)
    assert np.array_equal(npresnet.load(target)(pixels()).logits, model(pixels()).logits)
