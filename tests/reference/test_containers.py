"""One network in every container and naming: ``npresnet.load`` gives the logits that PyTorch computes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoint_files as files
import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from agreement import agree
from transformers_pair import numpy_state, randomize

import npresnet

State = dict[str, torch.Tensor]
PIXELS = np.random.default_rng(1).standard_normal((2, 3, 70, 64)).astype(np.float32)


def network(**fields: Any) -> Any:
    """A bottleneck network of Transformers."""
    torch.manual_seed(0)
    model = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32], depths=[2, 1, 1], num_labels=5, **fields)
    )
    randomize(model, 0.5)
    return model.eval()


def logits(model: Any) -> np.ndarray:
    """What PyTorch computes in float32."""
    with torch.no_grad():
        return model(torch.from_numpy(PIXELS)).logits.numpy()


def check(path: Path, expected: np.ndarray, **overrides: Any) -> Any:
    """Load and compare; returns the model."""
    model = npresnet.load(path, **overrides)
    agree("containers", model(PIXELS).logits, expected, 2e-5)
    return model


def torchvision(state: State) -> State:
    """The state dict under torchvision's names."""
    renamed = {}
    for name, tensor in state.items():
        new = name.replace("resnet.embedder.embedder.convolution", "conv1")
        new = new.replace("resnet.embedder.embedder.normalization", "bn1").replace("classifier.1", "fc")
        new = re.sub(r"resnet.encoder.stages.(\d).layers.", lambda m: f"layer{int(m[1]) + 1}.", new)
        new = re.sub(r"layer.(\d).convolution", lambda m: f"conv{int(m[1]) + 1}", new)
        new = re.sub(r"layer.(\d).normalization", lambda m: f"bn{int(m[1]) + 1}", new)
        new = new.replace("shortcut.convolution", "downsample.0").replace("shortcut.normalization", "downsample.1")
        renamed[new] = tensor
    assert len(renamed) == len(state)
    return renamed


def prefixed(state: State, prefix: str) -> State:
    """As a wrapper of the module names its tensors."""
    return {prefix + name: tensor for name, tensor in state.items()}


def spoiled(state: State) -> State:
    """Other weights."""
    return {name: tensor + 1 for name, tensor in state.items()}


def in_shards(state: State, directory: Path, suffix: str) -> None:
    """Two files and an index, as Transformers writes large models."""
    names = sorted(state)
    halves = {f"model-0000{i + 1}-of-00002{suffix}": names[i::2] for i in range(2)}
    for file, keys in halves.items():
        part = {key: state[key].contiguous() for key in keys}
        if suffix == ".bin":
            torch.save(part, directory / file)
        else:
            safetensors.torch.save_file(part, directory / file)
    index = {"metadata": {}, "weight_map": {key: file for file, keys in halves.items() for key in keys}}
    stem = "pytorch_model.bin" if suffix == ".bin" else "model.safetensors"
    (directory / f"{stem}.index.json").write_text(json.dumps(index))


def savez(state: State, path: Path, save: Callable[..., None] = np.savez) -> None:
    """As anyone would keep a state dict in NumPy."""
    with open(path, "wb") as file:
        save(file, **{name: tensor.numpy() for name, tensor in state.items()})


def tar(state: State, path: Path) -> None:
    """PyTorch's format of 2017, which it no longer writes."""
    files.write_tar(path, files.tar_members({name: tensor.numpy() for name, tensor in state.items()}))


def legacy(obj: Any, path: Path) -> None:
    """PyTorch's format before 1.6."""
    torch.save(obj, path, _use_new_zipfile_serialization=False)


CONTAINERS: dict[str, Callable[[State, Path], None]] = {
    "zip": torch.save,
    "legacy": legacy,
    "tar": tar,
    "safetensors": safetensors.torch.save_file,
    "npz": savez,
    "compressed npz": lambda state, path: savez(state, path, np.savez_compressed),
    "parameters": lambda state, path: torch.save({n: torch.nn.Parameter(t, False) for n, t in state.items()}, path),
    "DataParallel": lambda state, path: torch.save(prefixed(state, "module."), path),
    "torch.compile": lambda state, path: torch.save(prefixed(state, "_orig_mod."), path),
    "both": lambda state, path: legacy(prefixed(state, "_orig_mod.module."), path),
    "training": lambda state, path: torch.save(
        {"epoch": 3, "best_acc": 0.5, "state_dict": prefixed(state, "module."), "optimizer": {"state": {0: 1.0}}}, path
    ),
    "timm's EMA": lambda state, path: torch.save({"state_dict": spoiled(state), "state_dict_ema": state}, path),
    "torchvision's EMA": lambda state, path: torch.save(
        {"model": spoiled(state), "model_ema": {**prefixed(state, "module."), "n_averaged": torch.tensor(7)}}, path
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("naming", ["transformers", "torchvision"])
def test_containers(container: str, naming: str, tmp_path: Path) -> None:
    model = network()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    CONTAINERS[container](torchvision(state) if naming == "torchvision" else state, tmp_path / "weights")
    loaded = check(tmp_path / "weights", logits(model))
    for name, array in numpy_state(model).items():
        np.testing.assert_array_equal(loaded.state_dict()[name], array, err_msg=name)


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
@pytest.mark.parametrize("naming", ["transformers", "torchvision"])
def test_shards(suffix: str, naming: str, tmp_path: Path) -> None:
    model = network()
    state = model.state_dict()
    in_shards(torchvision(state) if naming == "torchvision" else state, tmp_path, suffix)
    check(tmp_path, logits(model))


@pytest.mark.parametrize("how", ["safetensors", "shards", "bin"])
@pytest.mark.parametrize("fields", [{}, {"downsample_in_bottleneck": True, "hidden_act": "silu"}], ids=str)
def test_directories_of_transformers(how: str, fields: dict[str, Any], tmp_path: Path) -> None:
    model = network(**fields)
    model.save_pretrained(tmp_path, max_shard_size="20KB" if how == "shards" else "1GB")
    if how == "bin":
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert len(list(tmp_path.glob("*.index.json"))) == (how == "shards")
    assert check(tmp_path, logits(model)).config.hidden_act == fields.get("hidden_act", "relu")


@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_precisions(dtype: str, container: str, tmp_path: Path) -> None:
    model = network().to(getattr(torch, dtype))
    CONTAINERS[container](torchvision(model.state_dict()), tmp_path / "weights")
    check(tmp_path / "weights", logits(model.float()))


@pytest.mark.parametrize("target", ["a.npz", "a.safetensors", "a"])
def test_our_own_files(target: str, tmp_path: Path) -> None:
    model = network()
    torch.save(torchvision(model.state_dict()), tmp_path / "a.pth")
    check(tmp_path / "a.pth", logits(model)).save(tmp_path / target)
    check(tmp_path / target, logits(model))


# ------------------------------------------------------------------------------------------------ Keras and Caffe


def layers(model: Any, name: Callable[[int, int, int], str]) -> list[tuple[str, Any, Any]]:
    """Names, convolutions and BatchNorms of all residual layers; number 0 is the shortcut."""
    found = []
    for s, stage in enumerate(model.resnet.encoder.stages):
        for b, block in enumerate(stage.layers):
            parts = [(k + 1, part) for k, part in enumerate(block.layer)]
            if not isinstance(block.shortcut, torch.nn.Identity):
                parts.insert(0, (0, block.shortcut))
            found += [(name(s, b, k), part.convolution, part.normalization) for k, part in parts]
    return found


def test_keras(tmp_path: Path) -> None:
    """Kernels as (kh, kw, I, O), biases of convolutions, another epsilon, the stride of v1."""
    model = network(downsample_in_bottleneck=True)
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.bias = torch.nn.Parameter(torch.randn(module.out_channels))
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1.001e-5
    stem = model.resnet.embedder.embedder
    named = [("conv1", stem.convolution, stem.normalization)]
    named += layers(model, lambda s, b, k: f"conv{s + 2}_block{b + 1}_{k}")
    arrays: dict[str, dict[str, torch.Tensor]] = {}
    for name, convolution, norm in named:
        arrays[f"{name}_conv"] = {"kernel:0": convolution.weight.permute(2, 3, 1, 0), "bias:0": convolution.bias}
        arrays[f"{name}_bn"] = {
            "gamma:0": norm.weight, "beta:0": norm.bias,
            "moving_mean:0": norm.running_mean, "moving_variance:0": norm.running_var,
        }  # fmt: skip
    arrays["predictions"] = {"kernel:0": model.classifier[1].weight.T, "bias:0": model.classifier[1].bias}
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in arrays]
        for name, weights in arrays.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{weight}".encode() for weight in weights]
            for weight, tensor in weights.items():
                group.create_dataset(f"{name}/{weight}", data=tensor.detach().numpy())
    loaded = check(tmp_path / "weights.h5", logits(model))
    assert loaded.config.downsample_in_bottleneck
    assert loaded.config.batch_norm_eps == 1.001e-5


def test_caffe(tmp_path: Path) -> None:
    """Numbered blobs, scaled statistics, separate scales, the stride of v1, a pool without padding."""
    model = network(downsample_in_bottleneck=True)
    model.resnet.embedder.pooler = torch.nn.MaxPool2d(3, 2, padding=0, ceil_mode=True)
    stem = model.resnet.embedder.embedder
    named = [("conv1", "_conv1", stem.convolution, stem.normalization)]
    for name, convolution, norm in layers(model, lambda s, b, k: f"{s + 2}{'abc'[b]}_branch{k}"):
        number = int(name[-1])
        name = name[:-1] + ("1" if number == 0 else "2" + "abc"[number - 1])
        named.append((f"res{name}", name, convolution, norm))
    arrays: State = {}
    for convolution_name, name, convolution, norm in named:
        factor = 999.98
        arrays |= {
            f"{convolution_name}/0": convolution.weight,
            f"bn{name}/0": norm.running_mean * factor,
            f"bn{name}/1": norm.running_var * factor,
            f"bn{name}/2": torch.tensor([factor]),
            f"scale{name}/0": norm.weight,
            f"scale{name}/1": norm.bias,
        }
    arrays |= {"fc1000/0": model.classifier[1].weight, "fc1000/1": model.classifier[1].bias}
    savez({name: tensor.detach() for name, tensor in arrays.items()}, tmp_path / "caffe.npz")
    loaded = check(tmp_path / "caffe.npz", logits(model))
    assert loaded.config.stem_pool == "caffe"
    assert loaded.processor.channel_order == "bgr"
