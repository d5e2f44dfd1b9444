"""Directories exchanged with Transformers, in both directions."""

import numpy as np
import pytest
import torch
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification, ResNetModel

from npresnet.checkpoint import read, save_transformers
from npresnet.config import ResNetConfig as OwnConfig

CONFIGS = {
    "basic": {"layer_type": "basic", "hidden_sizes": [8, 12], "depths": [2, 1], "embedding_size": 8},
    "bottleneck": {"layer_type": "bottleneck", "hidden_sizes": [16, 32], "depths": [1, 2], "embedding_size": 8},
}


def model_of(kind, cls=ResNetForImageClassification):
    torch.manual_seed(1)
    labels = {0: "cat", 1: "dog", 2: "owl"}
    model = cls(ResNetConfig(**CONFIGS[kind], id2label=labels, label2id={v: k for k, v in labels.items()})).eval()
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    return model


def numpy_state(model):
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


def same(found, expected):
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, strict=True)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("with_counters", [True, False])
def test_transformers_loads_what_is_written(tmp_path, kind, with_counters):
    model = model_of(kind)
    arrays = {k: a for k, a in numpy_state(model).items() if with_counters or not k.endswith("num_batches_tracked")}
    config = OwnConfig.from_dict(model.config.to_dict())
    save_transformers(tmp_path / "a", arrays, config, ConvNextImageProcessor(size={"shortest_edge": 64}).to_dict())
    loaded, info = ResNetForImageClassification.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert loaded.config.id2label == {0: "cat", 1: "dog", 2: "owl"}
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(pixels).logits, model(pixels).logits, rtol=0, atol=0)
    assert ConvNextImageProcessor.from_pretrained(tmp_path / "a").size == {"shortest_edge": 64}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("shard", ["10GB", "5KB"])
def test_what_transformers_saves_is_read(tmp_path, kind, shard):
    model = model_of(kind)
    model.save_pretrained(tmp_path / "a", max_shard_size=shard)
    ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.9).save_pretrained(tmp_path / "a")
    assert (tmp_path / "a/model.safetensors.index.json").exists() == (shard == "5KB")
    found = read(tmp_path / "a")
    same(found.arrays, numpy_state(model))
    assert found.naming == "transformers"
    assert found.config == OwnConfig.from_dict(model.config.to_dict())
    assert found.config.hidden_sizes == tuple(CONFIGS[kind]["hidden_sizes"])
    assert found.preprocessing["crop_pct"] == 0.9


def test_shards_of_pytorch(tmp_path):
    """pytorch_model.bin, whole and in shards, as Transformers wrote them before safetensors."""
    import json

    model = model_of("basic")
    state = model.state_dict()
    model.config.save_pretrained(tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    same(read(tmp_path).arrays, numpy_state(model))
    (tmp_path / "pytorch_model.bin").unlink()
    keys = list(state)
    weight_map = {}
    for i, part in enumerate((keys[::2], keys[1::2])):
        name = f"pytorch_model-0000{i + 1}-of-00002.bin"
        torch.save({key: state[key] for key in part}, tmp_path / name)
        weight_map |= dict.fromkeys(part, name)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    same(read(tmp_path).arrays, numpy_state(model))


def test_half_precision(tmp_path):
    """bfloat16 weights come out as the float32 numbers that they are."""
    model = model_of("basic").to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    found = read(tmp_path)
    expected = {k: (t.float() if t.is_floating_point() else t).numpy() for k, t in model.state_dict().items()}
    same(found.arrays, expected)


def test_backbone_weights(tmp_path):
    """A ResNetModel has no classifier and no prefix in its names."""
    model = model_of("bottleneck", ResNetModel)
    model.save_pretrained(tmp_path)
    found = read(tmp_path)
    same(found.arrays, {f"resnet.{key}": array for key, array in numpy_state(model).items()})
    assert found.config.num_labels == 0
