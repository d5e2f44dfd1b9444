"""Parameter groups: who decays, who learns how fast, who is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small import BOTTLENECK, network

import npresnet
from npresnet.nn import Linear, Parameter
from npresnet.train import ParameterGroup, layerwise_lr_scales, parameter_groups


def treatment(groups: list[ParameterGroup]) -> dict[str, tuple[float, float]]:
    """(lr_scale, weight_decay) of every parameter."""
    return {name: (group.lr_scale, group.weight_decay) for group in groups for name in group.names}


def test_weights_decay_norms_and_biases_do_not() -> None:
    model = network()
    groups = parameter_groups(model, 0.01)
    found = treatment(groups)
    assert len(groups) == 2
    assert list(found) != []
    for name, parameter in model.named_parameters():
        decays = name.endswith("convolution.weight") or name == "classifier.1.weight"
        assert found.pop(name) == (1.0, 0.01 if decays else 0.0), name
        assert any(parameter is p for group in groups for p in group.parameters)
    assert not found


def test_everything_decays_on_demand_or_nothing() -> None:
    model = network()
    (group,) = parameter_groups(model, 0.01, decay_norms_and_biases=True)
    assert list(group.names) == [name for name, _ in model.named_parameters()]
    assert group.weight_decay == 0.01
    assert len(parameter_groups(model, 0.0)) == 1


def test_scales_by_pattern_the_last_one_counts() -> None:
    model = network()
    scales = {"*": 0.5, "resnet.embedder.*": 0.1, "*.bias": 3, "classifier.1.bias": 7.0}
    found = treatment(parameter_groups(model, 0.01, lr_scales=scales))
    assert found["resnet.embedder.embedder.convolution.weight"] == (0.1, 0.01)
    assert found["resnet.embedder.embedder.normalization.weight"] == (0.1, 0.0)
    assert found["resnet.embedder.embedder.normalization.bias"] == (3.0, 0.0)
    assert found["classifier.1.bias"] == (7.0, 0.0)
    assert found["classifier.1.weight"] == (0.5, 0.01)
    assert len(found) == len(list(model.parameters()))


def test_frozen_parameters_are_left_out() -> None:
    model = network()
    frozen = model.freeze("resnet.*")
    assert set(treatment(parameter_groups(model, 0.01, lr_scales={"resnet.embedder.*": 0.1}))) == {
        "classifier.1.weight", "classifier.1.bias",
    }  # fmt: skip
    assert frozen
    model.freeze("*")
    with pytest.raises(ValueError, match=r"all parameters of the model are frozen.*call model\.unfreeze"):
        parameter_groups(model, 0.01)


def test_an_unknown_pattern() -> None:
    with pytest.raises(
        ValueError, match=r"no parameter matches 'clasifier\.1\.weight' .* near it are classifier\.1\.w"
    ):
        parameter_groups(network(), 0.01, lr_scales={"clasifier.1.weight": 0.1})
    with pytest.raises(ValueError, match=r"no parameter matches '§' of lr_scales; names near it are resnet\.embedder"):
        parameter_groups(network(), 0.01, lr_scales={"§": 0.1})


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf"), "1", None, True])
def test_wrong_numbers(wrong: Any) -> None:
    model, parameter = network(), Parameter(np.zeros(3))
    for call in (
        lambda: parameter_groups(model, wrong),
        lambda: parameter_groups(model, 0.1, lr_scales={"classifier.*": wrong}),
        lambda: ParameterGroup(("a",), (parameter,), lr_scale=wrong),
        lambda: ParameterGroup(("a",), (parameter,), weight_decay=wrong),
        lambda: layerwise_lr_scales(model, wrong),
    ):
        with pytest.raises(ValueError, match=r"(weight_decay|lr_scales?|decay).* must .*found"):
            call()


def test_names_and_parameters_correspond() -> None:
    with pytest.raises(ValueError, match="one name for each parameter, found 2 names and 1 parameters"):
        ParameterGroup(("a", "b"), (Parameter(np.zeros(3)),))


# --------------------------------------------------------------------------------------------------- layer by layer


def test_rates_fall_from_the_classifier_to_the_stem() -> None:
    model = network(**BOTTLENECK)
    found = treatment(parameter_groups(model, 0.0, lr_scales=layerwise_lr_scales(model, 0.5)))
    expected = {
        "resnet.embedder.": 0.5**4, "resnet.encoder.stages.0.": 0.5**3, "resnet.encoder.stages.1.": 0.5**2,
        "resnet.encoder.stages.2.": 0.5, "classifier.": 1.0,
    }  # fmt: skip
    assert len(found) == len(list(model.parameters()))
    for name, (scale, _) in found.items():
        assert scale == next(value for prefix, value in expected.items() if name.startswith(prefix)), name


def test_of_more_than_ten_stages_and_of_a_model_without_a_head() -> None:
    sizes = tuple(range(4, 15))
    fields = {"layer_type": "basic", "embedding_size": 4, "hidden_sizes": sizes, "depths": (1,) * 11}
    for kind in (npresnet.ResNetModel, npresnet.ResNetForImageClassification):
        model = kind(npresnet.ResNetConfig(**fields, num_labels=0), seed=0)
        scales = {name: s for name, (s, _) in treatment(parameter_groups(
            model, 0.0, lr_scales=layerwise_lr_scales(model, 0.9)
        )).items()}  # fmt: skip
        for stage in range(11):
            of_stage = {s for name, s in scales.items() if f"encoder.stages.{stage}." in name}
            assert of_stage == {0.9 ** (11 - stage)}


@pytest.mark.parametrize("decay", [0.0, 1.1])
def test_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match=r"decay must be in \(0, 1\], found"):
        layerwise_lr_scales(network(), decay)


def test_a_module_without_stages() -> None:
    with pytest.raises(ValueError, match="a Linear has no stem and stages; give lr_scales by name"):
        layerwise_lr_scales(Linear(2, 3), 0.5)
