"""``npresnet bench --training`` with PyTorch: right steps are PyTorch's, and it takes part."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import run

import npresnet
from npresnet.benchmark import turns
from npresnet.benchmark.contestants import Contestant
from npresnet.benchmark.training import material
from npresnet.benchmark.training.contestants import is_cifar
from npresnet.benchmark.training.learners import TorchLearner, load_learner
from npresnet.benchmark.training.outcome import take_step
from npresnet.benchmark.training.torch_cifar import build
from npresnet.config import PRESETS, ResNetConfig

NETWORKS: dict[str, dict[str, Any]] = {
    "basic": {"layer_type": "basic", "embedding_size": 16, "hidden_sizes": (16, 24), "depths": (2, 1)},
    "bottleneck": {"embedding_size": 16, "hidden_sizes": (64, 128), "depths": (1, 2)},
    "CIFAR": {
        "layer_type": "basic", "embedding_size": 16, "hidden_sizes": (16, 32, 64), "depths": (1, 2, 1),
        "stem_type": "cifar", "shortcut_type": "zero_pad",
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, fields in NETWORKS.items():
        monkeypatch.setitem(PRESETS, name.lower(), {**fields, "num_labels": 30})
    monkeypatch.setattr(turns, "SECONDS", 0.0)
    monkeypatch.setattr(turns, "PAUSE", 0.0)


@pytest.mark.parametrize("way", ["eager", "channels-last"])
@pytest.mark.parametrize("name", NETWORKS)
def test_right_steps_are_those_of_torch_in_float64(tmp_path: Path, name: str, way: str) -> None:
    material.prepare(ResNetConfig(**NETWORKS[name], num_labels=30), 48, [4], tmp_path, ["npresnet", "torch"])
    files = material.TrainingMaterial(tmp_path)
    learner: Any = load_learner(Contestant("torch", "float32", way), files, 4, 1)
    assert learner._images.is_contiguous(memory_format=torch.channels_last) == (way == "channels-last")
    learner._model.double()
    learner._images = learner._images.double()
    found, right = take_step(learner), np.load(files.outcome(4))
    assert found.keys() == set(right.files)
    for key, array in found.items():
        np.testing.assert_allclose(array, right[key], 1e-9, 1e-11, err_msg=key)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("depth", [20, 32])
def test_networks_for_cifar(depth: int) -> None:
    model: Any = npresnet.ResNetForImageClassification(npresnet.preset(f"resnet{depth}"), seed=0)
    assert is_cifar(model.config)
    x = np.random.default_rng(0).standard_normal((3, 3, 33, 30))
    material.calibrate(model, x.astype(np.float32), seed=1)
    theirs = build(model.config).double().eval()
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in model.state_dict().items()})
    with torch.inference_mode():
        logits = theirs(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.astype(np.float64)(x).logits, logits, 1e-9, 1e-11)


def test_a_second_step_has_momentum_and_new_gradients() -> None:
    weight = torch.nn.Linear(1, 2, bias=False)
    torch.nn.init.zeros_(weight.weight)
    learner = TorchLearner(weight, weight, torch.ones(1, 1), torch.tensor([0]))
    learner.step()
    (first,) = [gradient.copy() for gradient in learner.gradients()]
    np.testing.assert_allclose(first, [[-0.5], [0.5]])
    before = learner.state()["weight"].copy()
    np.testing.assert_allclose(before, [[0.005], [-0.005]], rtol=1e-6)
    learner.step()
    (second,) = learner.gradients()
    np.testing.assert_allclose(second, first * (1 - np.tanh(0.005)), rtol=1e-5)
    direction = 0.9 * first + second + 1e-4 * before
    np.testing.assert_allclose(learner.state()["weight"], before - 0.01 * direction, rtol=1e-5)


def test_all_together(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--size", 48, "--batch", 4, "--rounds", 1, "--threads", 1, "--output", "bench.json")
    status, out, err = run(capsys, "bench", "--training", "--model", "basic,cifar", *options)
    assert status == 0, err
    document = json.loads(Path("bench.json").read_text())
    names = ["npresnet float32", "npresnet checkpoint_activations", "torch eager", "torch channels-last"]
    for model in document["models"]:
        assert [result["contestant"] for result in model["results"]] == names
        for result in model["results"]:
            assert result["status"] == "timed"
            assert result["ratio"] > 0
            assert result["peak_memory_bytes"] > 1e7
            assert result["error"]["loss"] < 1e-6
    assert document["notes"] == []
    assert [path.name for path in Path().iterdir()] == ["bench.json"]
    assert "torch channels-last" in out


def test_a_peer_with_other_weights_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from npresnet.benchmark.training.match import Match

    prepare = Match._prepare

    def with_other_weights(self: Match, config: ResNetConfig, size: int) -> dict[str, int]:
        counts = prepare(self, config, size)
        model = npresnet.load(self.material.weights)
        model.get_classifier().weight.data[3, 5] += 0.05
        model.save(self.material.transformers)
        return counts

    monkeypatch.setattr(Match, "_prepare", with_other_weights)
    options = ("--size", 48, "--batch", 4, "--rounds", 1, "--threads", 1)
    status, out, _ = run(capsys, "bench", "--training", "--model", "basic", *options)
    assert status == 1
    rows = [line.split() for line in out.splitlines() if line.startswith("torch ") and "  " in line]
    assert [row[3] for row in rows] == ["wrong", "wrong"]
