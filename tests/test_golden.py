"""Known answers of torchvision 0.29 and timm 1.0 in float64: outputs, loss, every gradient, running statistics.

The weights of these networks are given by a formula (:func:`weights`) and are not stored; each ``golden/*.npz`` holds
the input, logits, the mean and a corner of every stage's output, and ``meta``: the keys and shapes of the state dict,
and from one pass in training mode the loss, the norm of every gradient and some running statistics.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import agree

import npresnet

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-9

# The preset of each file, and the fields that differ from it.
MODELS: dict[str, dict[str, Any]] = {
    "torchvision_resnet18": {"name": "resnet18"},
    "torchvision_resnet50": {"name": "resnet50"},
    "torchvision_resnet152": {"name": "resnet152"},
    "torchvision_resnet50_dilated_os8": {"name": "resnet50", "output_stride": 8},
    "torchvision_resnext50_32x4d": {"name": "resnext50_32x4d"},
    "torchvision_wide_resnet101_2": {"name": "wide_resnet101_2"},
    "timm_resnet18_catavgmax": {"name": "resnet18", "global_pool": "catavgmax"},
    "timm_resnet18d": {"name": "resnet18d"},
    "timm_resnet34_gray": {"name": "resnet34", "num_channels": 1},
    "timm_resnet50_os16": {"name": "resnet50", "output_stride": 16},
}


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of the state dict, from its name in torchvision or timm."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.array(1)
    if name.endswith("running_mean"):
        return (0.1 * rng.standard_normal(shape)).astype("f4")
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype("f4")
    if len(shape) == 4:
        return (rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))).astype("f4")
    if len(shape) == 2:
        return (rng.standard_normal(shape) / np.sqrt(shape[1])).astype("f4")
    if name.endswith("bias"):
        return (0.1 * rng.standard_normal(shape)).astype("f4")
    return rng.uniform(0.4, 0.8, shape).astype("f4")


def test_every_file_is_used() -> None:
    assert MODELS.keys() == {path.stem for path in GOLDEN.glob("*.npz")}


@pytest.mark.parametrize("tag", MODELS)
def test_known_answers(tag: str) -> None:
    with np.load(GOLDEN / f"{tag}.npz") as file:
        known = dict(file)
    meta = json.loads(str(known["meta"]))
    state = {key: weights(key, tuple(shape)) for key, shape in meta["keys"].items()}
    config = npresnet.preset(**MODELS[tag], num_labels=len(known["logits"][0]))
    model = npresnet.ResNetForImageClassification(config).astype(np.float64)
    assert model.num_parameters == meta["params"]

    # Names, in both directions: what is loaded under foreign names comes back under them.
    model.load_state_dict(state)
    renamed = model.state_dict(tag.partition("_")[0])
    assert renamed.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(renamed[key], array, err_msg=key)

    x = known["x"].astype(np.float64)
    out = model(x, output_hidden_states=True)
    agree("golden logits", out.logits, known["logits"], TOLERANCE)
    for number, stage in enumerate(out.hidden_states[1:], 1):
        assert stage.shape == tuple(known[f"layer{number}_shape"])
        agree("golden stages", stage.mean(axis=(2, 3)), known[f"layer{number}_mean"], TOLERANCE)
        agree("golden stages", stage[:, :4, :3, :3], known[f"layer{number}_first"], TOLERANCE)

    out = model.train()(x, labels=meta["labels"])
    agree("golden loss", out.loss, meta["train_loss"], TOLERANCE)
    model.backward()
    ours = dict(zip(model.state_dict(), renamed, strict=True))
    norms = {ours[name]: np.linalg.norm(parameter.grad) for name, parameter in model.named_parameters()}
    assert norms.keys() == meta["grad_norm"].keys()
    for key, norm in meta["grad_norm"].items():
        agree(f"golden norms of gradients: {key}", norms[key], norm, TOLERANCE)

    after = model.state_dict(tag.partition("_")[0])
    statistics = [key for key in known if key.startswith("after_step_")]
    assert statistics
    for key in statistics:
        found = after[key.removeprefix("after_step_")]
        agree(f"golden running statistics: {key}", np.ravel(found)[: known[key].size], known[key], TOLERANCE)
