"""Understanding a checkpoint: names, configuration, values."""

from __future__ import annotations

import json

import checkpoint_files as files
import numpy as np
import pytest
from resnet_arrays import resnet_shapes
from safetensors.numpy import save_file

from npresnet.checkpoint import CheckpointError, read, reader, save_npz
from npresnet.config import ResNetConfig

CONFIG = ResNetConfig(embedding_size=4, hidden_sizes=(4, 8), depths=(1, 2), layer_type="basic", num_labels=3)
SHAPES = resnet_shapes((1, 2), (4, 8), "basic", embedding_size=4, stem=((4, 7),), num_labels=3)
RNG = np.random.default_rng(24)
ARRAYS = {
    key: np.array(9, np.int64) if key.endswith("tracked") else RNG.standard_normal(shape).astype(np.float32)
    for key, shape in SHAPES.items()
}
WEIGHT = "resnet.encoder.stages.1.layers.0.layer.0.convolution.weight"


def test_architecture_without_a_configuration(tmp_path):
    files.arrays_zip(tmp_path / "a.pth", {f"module.{key}": array for key, array in ARRAYS.items()})
    found = read(tmp_path / "a.pth")
    assert found.config == CONFIG
    assert found.naming == "transformers"
    assert found.preprocessing is None
    assert found.arrays.keys() == ARRAYS.keys()


def test_the_configuration_of_the_file_goes_first(tmp_path):
    np.savez(tmp_path / "model.npz", **ARRAYS)
    config = CONFIG.replace(id2label={0: "a", 1: "b", 2: "c"}, hidden_act="gelu")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    assert read(tmp_path).config == config
    assert read(tmp_path / "model.npz").config == CONFIG


def test_weights_without_a_classifier(tmp_path):
    """A ResNetModel: names lack the prefix, config.json still speaks of classes."""
    arrays = {k.removeprefix("resnet."): a for k, a in ARRAYS.items() if not k.startswith("classifier")}
    save_file(arrays, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    found = read(tmp_path)
    assert found.config == CONFIG.replace(num_labels=0)
    assert found.arrays.keys() == {k for k in ARRAYS if k.startswith("resnet.")}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model_type": "vit"}, "'vit' model"),
        ({"depth": [1]}, "unknown configuration field 'depth'"),
        ({"depths": 3}, "depths must be a"),
        ({"id2label": [1]}, "not that of a ResNet"),
    ],
)
def test_configurations_of_something_else(tmp_path, changes, match):
    save_file(ARRAYS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict() | changes))
    with pytest.raises(CheckpointError, match=match) as caught:
        read(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_that_are_not_finite(tmp_path, value, dtype):
    arrays = {key: array.astype(dtype) if array.dtype.kind == "f" else array for key, array in ARRAYS.items()}
    arrays[WEIGHT] = arrays[WEIGHT].copy()
    arrays[WEIGHT].flat[[3, 10]] = value
    save_npz(tmp_path / "a.npz", arrays, CONFIG)
    with pytest.raises(CheckpointError, match=rf"a.npz: {WEIGHT} holds 2 values that are NaN or infinite"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("chunk", [1, 7, 10, 11, 288, 289])
def test_values_that_are_not_finite_are_found_in_any_chunk(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(reader, "_CHUNK", chunk)
    arrays = ARRAYS | {WEIGHT: ARRAYS[WEIGHT].copy()}
    assert arrays[WEIGHT].size == 288
    arrays[WEIGHT].flat[[0, 10, 287]] = np.nan
    save_npz(tmp_path / "a.npz", arrays, CONFIG)
    with pytest.raises(CheckpointError, match=rf"{WEIGHT} holds 3 values that are NaN or infinite \(1 arrays do\)"):
        read(tmp_path / "a.npz")


def test_not_a_resnet(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(CheckpointError, match=r"a\.npz: "):
        read(tmp_path / "a.npz")


def test_paths_may_be_strings(tmp_path):
    save_npz(str(tmp_path / "a.npz"), ARRAYS, CONFIG)
    assert read(str(tmp_path / "a.npz")).config == CONFIG
