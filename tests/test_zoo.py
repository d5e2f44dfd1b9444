"""The named models, ``load`` and the bundled weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import network, pixels

import npresnet
from npresnet import PRESETS, ResNetForImageClassification, preset, zoo

CLASSES: dict[str, type[ResNetForImageClassification]] = {
    name: kind
    for name, kind in vars(npresnet).items()
    if isinstance(kind, type) and issubclass(kind, ResNetForImageClassification) and kind.architecture
}


def test_one_class_for_each_preset() -> None:
    assert sorted(kind.architecture for kind in CLASSES.values()) == sorted(PRESETS)
    for name, kind in CLASSES.items():
        assert name.lower() == kind.__name__.lower() == kind.architecture.replace("wide_resnet", "wideresnet")
        assert name in npresnet.__all__
        assert kind.__doc__


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_builds_its_preset(name: str) -> None:
    model = CLASSES[name](_initialize=False)
    assert model.config == preset(model.architecture)
    assert type(model).__name__ in repr(model)
    assert f"{model.num_parameters:,} parameters, float32" in repr(model)
    changed = CLASSES[name](num_labels=3, hidden_act="gelu", _initialize=False)
    assert changed.config == preset(model.architecture, num_labels=3, hidden_act="gelu")


def test_a_seed_and_fields_as_arguments() -> None:
    model, same = (npresnet.ResNet20(num_labels=4, seed=1) for _ in range(2))
    x = pixels()
    assert model(x).logits.shape == (2, 4)
    assert np.array_equal(model(x).logits, same(x).logits)
    assert npresnet.ResNet20(model.config, seed=1, num_labels=2).config.num_labels == 2
    with pytest.raises(ValueError, match="unknown configuration field 'num_classes'"):
        npresnet.ResNet20(num_classes=4)
    with pytest.raises(TypeError, match="config must be a ResNetConfig, found 4; fields go by name"):
        npresnet.ResNet20(4)  # type: ignore[arg-type]


def test_load_finds_the_architecture(tmp_path: Path) -> None:
    model = npresnet.ResNet20(seed=0)
    np.savez(tmp_path / "a.npz", **model.state_dict("cifar"))
    found = npresnet.load(tmp_path / "a.npz")
    assert type(found) is ResNetForImageClassification
    assert found.config.replace(id2label=model.config.id2label) == model.config
    assert found.config.id2label[3] == "cat"
    assert np.array_equal(found(pixels()).logits, model(pixels()).logits)
    assert npresnet.load(tmp_path / "a.npz", dtype="float64").dtype == np.float64


def test_names_of_imagenet_come_with_1000_labels(tmp_path: Path) -> None:
    model = network(num_labels=1000)
    np.savez(tmp_path / "a.npz", **model.state_dict("torchvision"))
    assert npresnet.load(tmp_path / "a.npz").config.id2label[281] == "tabby"


@pytest.mark.parametrize("place", ["npresnet/weights", "weights"])
def test_default_weights(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a wheel they lie inside the package, in a checkout beside it."""
    monkeypatch.setattr(zoo, "__file__", str(tmp_path / "npresnet" / "zoo.py"))
    with pytest.raises(FileNotFoundError, match=r"weights/default\.npz are missing; reinstall npresnet"):
        zoo.default_weights()
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "default.npz").touch()
    assert zoo.default_weights() == tmp_path / place / "default.npz"


def test_lazy_names() -> None:
    for name in npresnet.__all__:
        value: Any = getattr(npresnet, name)
        assert callable(value) or isinstance(value, dict), name
    with pytest.raises(AttributeError, match="no attribute 'ResNet51'"):
        _ = npresnet.ResNet51
