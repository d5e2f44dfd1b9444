"""Key names against Transformers' own models: the renaming is a bijection onto ``state_dict()``, and loads strictly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import ResNetBackbone, ResNetConfig, ResNetForImageClassification, ResNetModel

from npresnet.checkpoint.architecture import identify
from npresnet.checkpoint.names import from_canonical
from npresnet.config import preset

# Architecture: keys of the state_dict, and learnable ones.
COUNTS = {18: (122, 62), 34: (218, 110), 50: (320, 161), 101: (626, 314), 152: (932, 467)}


def transformers_config(depth: int) -> ResNetConfig:
    """Written out, not taken from the presets under test."""
    depths = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}[depth]
    if depth < 50:
        sizes, layer_type = [64, 128, 256, 512], "basic"
    else:
        sizes, layer_type = [256, 512, 1024, 2048], "bottleneck"
    return ResNetConfig(depths=depths, hidden_sizes=sizes, layer_type=layer_type, num_labels=1000)


def arrays_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """One placeholder for each tensor of a model on the meta device."""
    return {key: np.broadcast_to(np.float32(0), tuple(t.shape)) for key, t in model.state_dict().items()}


@pytest.mark.parametrize("depth", sorted(COUNTS))
def test_every_naming_maps_onto_the_state_dict(depth: int) -> None:
    with torch.device("meta"):
        model = ResNetForImageClassification(transformers_config(depth))
    arrays = arrays_of(model)
    assert (len(arrays), len(list(model.parameters()))) == COUNTS[depth]
    for naming in ("transformers", "torchvision", "timm", "cifar"):
        raw = from_canonical(arrays, naming)
        assert len(raw) == len(arrays)
        canonical, found, config = identify(raw)
        assert list(canonical) == list(arrays)
        assert all(canonical[key] is arrays[key] for key in arrays)
        assert found == ("torchvision" if naming == "timm" else naming)
        assert config == preset(f"resnet{depth}", id2label=config.id2label)


@pytest.mark.parametrize("model_class", [ResNetModel, ResNetBackbone])
def test_models_without_a_head(model_class: type) -> None:
    with torch.device("meta"):
        full = ResNetForImageClassification(transformers_config(50))
        body = model_class(transformers_config(50))
    canonical, naming, config = identify(arrays_of(body))
    assert naming == "transformers"
    assert config.num_labels == 0
    assert set(canonical) == {key for key in full.state_dict() if key.startswith("resnet.")}


def test_downsampling_in_the_first_stage() -> None:
    options = {"depths": [1, 2], "hidden_sizes": [64, 128], "layer_type": "basic", "num_labels": 3}
    for flag in (False, True):
        with torch.device("meta"):
            model = ResNetForImageClassification(ResNetConfig(downsample_in_first_stage=flag, **options))
        assert identify(arrays_of(model))[2].downsample_in_first_stage is flag


def test_convolution_biases_fold_exactly() -> None:
    """A torchvision-like ResNet with biases computes what Transformers' ResNet does with the arrays read from it."""
    torch.manual_seed(0)
    config = ResNetConfig(depths=[1, 1], hidden_sizes=[16, 32], embedding_size=8, num_labels=5, layer_type="bottleneck")
    plain, biased = (ResNetForImageClassification(config).double() for _ in range(2))
    for module in biased.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.bias = torch.nn.Parameter(torch.randn(module.out_channels, dtype=torch.float64))
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    state = {key: tensor.detach().numpy() for key, tensor in biased.state_dict().items()}
    canonical, _, _ = identify(state)
    plain.load_state_dict({key: torch.from_numpy(np.asarray(array)) for key, array in canonical.items()})
    pixels = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    for training in (False, True):
        with torch.no_grad():
            expected, found = (model.train(training)(pixels).logits for model in (biased, plain))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for key, tensor in plain.state_dict().items():  # the statistics of the training pass, shifted by the bias
        if key.endswith("running_var"):
            torch.testing.assert_close(tensor, biased.state_dict()[key], rtol=1e-9, atol=1e-9)
