"""What surrounds the arithmetic, against Transformers: losses, outputs, backbones, initialisation, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from agreement import agree
from PIL import Image
from transformers.activations import ACT2FN
from transformers_pair import numpy_state, ours, randomize

import npresnet
from npresnet import ResNetBackbone, ResNetConfig, ResNetForImageClassification, ResNetModel
from npresnet.config import ACTIVATION_ALIASES, ACTIVATION_NAMES

SMALL: dict[str, Any] = {
    "layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "num_labels": 3,
}  # fmt: skip


def theirs(kind: str = "ResNetForImageClassification", **fields: Any) -> Any:
    """A small model of Transformers in float64, in evaluation mode."""
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.ResNetConfig(**{**SMALL, **fields}))
    randomize(model, 0.5)
    return model.double().eval()


def pair(**fields: Any) -> tuple[Any, Any, np.ndarray]:
    """The same small model twice, and an input."""
    model = theirs(**fields)
    x = np.random.default_rng(1).standard_normal((4, model.config.num_channels, 40, 36))
    return model, ours(model.config.to_dict(), numpy_state(model)), x


# ---------------------------------------------------------------------------------------------------------- losses

RNG = np.random.default_rng(4)
INTEGERS, FLOATS, TARGETS = np.array([0, 2, 1, 2]), RNG.standard_normal((4, 3)), RNG.uniform(0, 1, (4, 3))


@pytest.mark.parametrize(
    ("problem_type", "num_labels", "labels"),
    [
        (None, 3, INTEGERS),
        (None, 3, np.array([0, -100, 1, -100])),
        (None, 3, TARGETS),
        (None, 1, FLOATS[:, 0]),
        (None, 1, FLOATS[:, :1]),
        ("single_label_classification", 3, INTEGERS),
        ("multi_label_classification", 3, TARGETS),
        ("multi_label_classification", 3, (TARGETS > 0.5).astype(float)),
        ("regression", 1, FLOATS[:, 0]),
        ("regression", 3, FLOATS),
    ],
    ids=lambda value: "x".join(map(str, value.shape)) + str(value.dtype) if isinstance(value, np.ndarray) else None,
)
def test_losses(problem_type: str | None, num_labels: int, labels: np.ndarray) -> None:
    model, mine, x = pair(problem_type=problem_type, num_labels=num_labels)
    out = model(torch.from_numpy(x), labels=torch.from_numpy(labels))
    out.loss.backward()
    with mine.enable_grad():
        found = mine(x, labels=labels)
        mine.backward()
    agree("losses", found.loss, out.loss.item(), 1e-10)
    for name, parameter in model.named_parameters():
        gradient = dict(mine.named_parameters())[name].grad
        agree(f"gradients of losses: {name}", gradient, parameter.grad.numpy(), 1e-8, norm=True)


@pytest.mark.parametrize("name", sorted({*ACTIVATION_NAMES, *ACTIVATION_ALIASES} & {*ACT2FN}))
def test_activations(name: str) -> None:
    model, mine, x = pair(hidden_act=name)
    out = model(torch.from_numpy(x), labels=torch.from_numpy(INTEGERS))
    out.loss.backward()
    with mine.enable_grad():
        found = mine(x, labels=INTEGERS)
        mine.backward()
    agree("logits with every activation", found.logits, out.logits.detach().numpy(), 1e-10)
    for key, parameter in model.named_parameters():
        gradient = dict(mine.named_parameters())[key].grad
        agree(f"gradients with every activation: {key}", gradient, parameter.grad.numpy(), 1e-8, norm=True)


# ----------------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("by_config", [False, True])
@pytest.mark.parametrize("return_dict", [False, True])
@pytest.mark.parametrize("hidden_states", [False, True])
def test_forms_of_the_output(by_config: bool, return_dict: bool, hidden_states: bool) -> None:
    fields = {"output_hidden_states": hidden_states, "return_dict": return_dict}
    model, mine, x = pair(**(fields if by_config else {}))
    arguments = {} if by_config else fields
    for labels in (None, INTEGERS):
        expected = model(torch.from_numpy(x), labels=None if labels is None else torch.from_numpy(labels), **arguments)
        found = mine(x, labels=labels, **arguments)
        assert isinstance(found, tuple) == isinstance(expected, tuple) == (not return_dict)
        assert len(found) == len(expected)
        if return_dict:
            assert list(found.keys()) == list(expected.keys())
            assert type(found).__name__ == type(expected).__name__
        for value, known in zip(found[:], expected[:], strict=True):
            for a, b in zip(value, known, strict=True) if isinstance(known, tuple) else [(value, known)]:
                agree("items of the output", a, b.detach().numpy(), 1e-10)
    expected = model.resnet(torch.from_numpy(x), **arguments)
    found = mine.resnet(x, **arguments)
    assert len(found) == len(expected)
    for value, known in zip(found[:2], expected[:2], strict=True):
        agree("items of the output", value, known.detach().numpy(), 1e-10)


def test_wrong_channels_are_an_error_in_both() -> None:
    model, mine, x = pair()
    for run in (lambda: model(torch.from_numpy(x[:, :1])), lambda: mine(x[:, :1])):
        with pytest.raises(ValueError, match="channel"):
            run()


# --------------------------------------------------------------------------------------------------------- backbones


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"out_features": ["stem"]},
        {"out_features": ["stem", "stage2"]},
        {"out_indices": [0, 1, 2]},
        {"out_indices": [-1]},
        {"out_indices": [1, -1]},
        {"out_indices": [-3, -2]},
        {"out_features": ["stage1"], "out_indices": [1]},
        {"out_features": ["stage1", "stage2"], "out_indices": [1, -1]},
    ],
    ids=str,
)
def test_backbones(fields: dict[str, Any]) -> None:
    model = theirs("ResNetBackbone", **fields)
    mine = ours(model.config.to_dict(), numpy_state(model), ResNetBackbone)
    direct = ResNetBackbone(ResNetConfig(**{**SMALL, **fields}), seed=0)
    for backbone in (mine, direct):
        assert backbone.out_features == list(model.out_features)
        assert backbone.out_indices == list(model.out_indices)
        assert backbone.channels == list(model.channels)
        assert backbone.num_features == list(model.num_features)
        assert backbone.stage_names == list(model.stage_names)
    x = np.random.default_rng(1).standard_normal((2, 3, 40, 36))
    expected = model(torch.from_numpy(x), output_hidden_states=True)
    found = mine(x, output_hidden_states=True)
    for name in ("feature_maps", "hidden_states"):
        assert len(found[name]) == len(expected[name])
        for a, b in zip(found[name], expected[name], strict=True):
            agree("backbone", a, b.detach().numpy(), 1e-10)


@pytest.mark.parametrize(
    "fields",
    [
        {"out_features": ["stage9"]},
        {"out_features": ["stage1", "stage1"]},
        {"out_features": ["stage2", "stage1"]},
        {"out_features": "stage1"},
        {"out_indices": [3]},
        {"out_indices": [-4]},
        {"out_indices": [2, -1]},
        {"out_indices": [2, 1]},
        {"out_indices": 1},
        {"out_features": ["stage1"], "out_indices": [2]},
        {"out_features": ["stage1", "stage2"], "out_indices": [2]},
    ],
    ids=str,
)
def test_wrong_stages_are_an_error_in_both(fields: dict[str, Any]) -> None:
    with pytest.raises((ValueError, IndexError)):
        transformers.ResNetConfig(**SMALL, **fields)
    with pytest.raises(ValueError, match=r"out_features|out_indices"):
        ResNetConfig(**SMALL, **fields)


# ----------------------------------------------------------------------------------------------------- initialisation


def test_initialisation_has_the_same_distributions() -> None:
    """Two-sample Kolmogorov-Smirnov tests, for every parameter, of new models of both."""
    from scipy.stats import ks_2samp

    fields = {**SMALL, "layer_type": "bottleneck", "hidden_sizes": [64, 128], "embedding_size": 32, "num_labels": 50}
    torch.manual_seed(0)
    expected = numpy_state(transformers.ResNetForImageClassification(transformers.ResNetConfig(**fields)))
    found = ResNetForImageClassification(ResNetConfig(**fields), seed=0).state_dict()
    assert found.keys() == expected.keys()
    random = [name for name in found if "convolution" in name or name.startswith("classifier")]
    for name in found:
        assert found[name].shape == expected[name].shape
        assert found[name].dtype == expected[name].dtype
        if name in random:
            p = ks_2samp(found[name].ravel(), expected[name].ravel()).pvalue
            assert p > 1e-3 / len(random), f"{name} is drawn from another distribution"
        else:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    bound = np.abs(expected["classifier.1.weight"]).max()
    agree("bound of the classifier", np.abs(found["classifier.1.weight"]).max(), bound, 1e-2)


# -------------------------------------------------------------------------------------------------------------- files

ODD: list[dict[str, Any]] = [
    {},
    {"num_labels": 0},
    {"num_labels": 1, "problem_type": "regression"},
    {"id2label": {0: "cat", 1: "dog", 2: "cow"}, "label2id": {"cat": 0, "dog": 1, "cow": 2}},
    {"num_channels": 1, "hidden_act": "gelu", "downsample_in_first_stage": True},
    {"num_channels": 4, "layer_type": "bottleneck", "downsample_in_bottleneck": True, "hidden_act": "swish"},
    {"downsample_in_bottleneck": True},  # which a basic layer ignores
    {"out_indices": [0, -1], "output_hidden_states": True},
    {"out_features": ["stage1", "stage2"], "return_dict": False, "problem_type": "multi_label_classification"},
    {"depths": [1], "hidden_sizes": [12], "embedding_size": 12},
]


def test_the_default_configuration() -> None:
    assert ResNetConfig.from_dict(transformers.ResNetConfig().to_dict()) == ResNetConfig()
    assert transformers.ResNetConfig.from_dict(ResNetConfig().to_dict()).to_dict() == {
        **transformers.ResNetConfig().to_dict(), "architectures": ["ResNetForImageClassification"],
    }  # fmt: skip


@pytest.mark.parametrize("fields", ODD, ids=str)
def test_configurations_in_both_directions(fields: dict[str, Any], tmp_path: Path) -> None:
    config = transformers.ResNetConfig(
        **{**{k: v for k, v in SMALL.items() if "id2label" not in fields or k != "num_labels"}, **fields}
    )
    mine = ResNetConfig.from_dict(config.to_dict())
    config.save_pretrained(tmp_path)
    assert ResNetConfig.from_dict(json.loads((tmp_path / "config.json").read_text())) == mine
    (tmp_path / "config.json").write_text(json.dumps(mine.to_dict()))
    for again in (
        transformers.ResNetConfig.from_pretrained(tmp_path),
        transformers.AutoConfig.from_pretrained(tmp_path),
    ):
        found, expected = again.to_dict(), config.to_dict()
        for values in (found, expected):
            for name in ("architectures", "_name_or_path"):
                values.pop(name)
            if values["layer_type"] == "basic":
                values.pop("downsample_in_bottleneck")
        assert found == expected


@pytest.mark.parametrize("fields", ODD, ids=str)
def test_files_of_transformers_are_loaded(fields: dict[str, Any], tmp_path: Path) -> None:
    model = theirs(**{k: v for k, v in fields.items() if k != "return_dict"}).float()
    model.save_pretrained(tmp_path)
    found = npresnet.load(tmp_path)
    x = np.random.default_rng(1).standard_normal((2, model.config.num_channels, 40, 36)).astype(np.float32)
    expected = model(torch.from_numpy(x)).logits.detach().numpy()
    agree("files of Transformers", found(x).logits, expected, 2e-5)
    assert found.config.id2label == model.config.id2label
    body = model.resnet
    body.save_pretrained(tmp_path / "body")
    agree(
        "files of Transformers",
        ResNetModel.load(tmp_path / "body")(x)[0],
        body(torch.from_numpy(x))[0].detach().numpy(),
        2e-5,
    )
    backbone = transformers.ResNetBackbone.from_pretrained(tmp_path / "body")
    backbone.save_pretrained(tmp_path / "backbone")
    maps = ResNetBackbone.load(tmp_path / "backbone")(x)[0]
    for a, b in zip(maps, backbone(torch.from_numpy(x))[0], strict=True):
        agree("files of Transformers", a, b.detach().numpy(), 2e-5)


@pytest.mark.parametrize("fields", ODD, ids=str)
def test_files_of_ours_are_loaded(fields: dict[str, Any], tmp_path: Path) -> None:
    fields = {k: v for k, v in fields.items() if k != "return_dict"}
    _, mine, x = pair(**fields)
    mine.astype(np.float32).save(tmp_path / "model")
    x = x.astype(np.float32)
    model, report = transformers.ResNetForImageClassification.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not any(report.values()), report
    agree("files of ours", model(torch.from_numpy(x)).logits.detach().numpy(), mine(x).logits, 2e-5)
    assert model.config.id2label == mine.config.id2label
    backbone = transformers.ResNetBackbone.from_pretrained(tmp_path / "model")
    maps = ResNetBackbone.load(tmp_path / "model")(x)[0]
    for a, b in zip(backbone(torch.from_numpy(x))[0], maps, strict=True):
        agree("files of ours", a.detach().numpy(), b, 2e-5)
    for kind, name in ((ResNetModel, "ResNetModel"), (ResNetBackbone, "ResNetBackbone")):
        kind.load(tmp_path / "model").save(tmp_path / name)
        headless, report = getattr(transformers, name).from_pretrained(tmp_path / name, output_loading_info=True)
        assert not any(report.values()), report
        first, known = headless(torch.from_numpy(x))[0], kind.load(tmp_path / name)(x)[0]
        for a, b in zip(first, known, strict=True):
            agree("files of ours", a.detach().numpy(), b, 2e-5)


@pytest.mark.parametrize("top_k", [1, 3, 9])
def test_predictions_are_those_of_the_pipeline(top_k: int, tmp_path: Path) -> None:
    _, mine, _ = pair(id2label={0: "cat", 1: "dog", 2: "cow"}, num_labels=3)
    mine.astype(np.float32).save(tmp_path / "model")
    pipeline = transformers.pipeline("image-classification", str(tmp_path / "model"), device="cpu")
    rng = np.random.default_rng(5)
    pictures = [Image.fromarray(rng.integers(0, 256, (260, 240 + 40 * i, 3), np.uint8)) for i in range(3)]
    found = npresnet.load(tmp_path / "model").predict(pictures, top_k=top_k)
    for ranked, known in zip(found, pipeline(pictures, top_k=top_k), strict=True):
        assert [p.label for p in ranked] == [entry["label"] for entry in known]
        agree("pipeline", [p.score for p in ranked], [entry["score"] for entry in known], 2e-4)
