"""``npresnet convert``: nothing is lost, nothing is overwritten, and it says what it found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from tiny import run

from npresnet import checkpoint, cli
from npresnet.image import ImageProcessor


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPRESNET_DEBUG", raising=False)


@pytest.fixture
def weights() -> str:
    return tiny.save("weights.npz")


def test_convert_says_what_it_found(capsys: pytest.CaptureFixture[str], weights: str) -> None:
    status, out, err = run(capsys, "convert", weights, "new/small.safetensors")
    assert (status, err) == (0, "")
    assert out.startswith("weights.npz -> new/small.safetensors\n")
    for words in ("basic layers, depths (1, 1)", "transformers", "3 (cat, dog,", "shortest_edge", "MiB, float32"):
        assert words in out
    learned = [a.size for name, a in tiny.arrays(num_labels=3).items() if not re.search("running|tracked", name)]
    assert f" {sum(learned):,} parameters\n" in out


def test_a_file_without_preprocessing_gets_that_of_its_framework(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("tv.npz", **checkpoint.from_canonical(tiny.arrays(num_labels=3), "torchvision"))
    status, out, _ = run(capsys, "convert", "tv.npz", "b.npz")
    assert status == 0
    assert "  names          torchvision\n" in out
    assert ImageProcessor.from_dict(checkpoint.read("b.npz").preprocessing or {}) == ImageProcessor.torchvision()


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str], weights: str) -> None:
    status, _, err = run(capsys, "convert", weights, "hf", "--set", "global_pool=max")
    assert status == 0
    assert err.startswith("npresnet: warning: Transformers' ResNet has no global_pool='max'")
    assert err.count("\n") == 1


def test_a_terminal_that_knows_no_accents(weights: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1]), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "npresnet", "convert", weights, "b.npz"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"cat, dog, r\xe9sum\xe9" in done.stdout


@pytest.mark.parametrize("target", ["b.npz", "b.safetensors", "b", "b.v1/", "empty"])
def test_convert_loses_nothing(capsys: pytest.CaptureFixture[str], weights: str, target: str) -> None:

    Path("empty").mkdir()
    assert run(capsys, "convert", weights, target)[0] == 0
    before, after = checkpoint.read(weights), checkpoint.read(target)
    assert after.config == before.config
    assert after.preprocessing == before.preprocessing
    assert after.arrays.keys() == before.arrays.keys()
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)


def test_convert_to_half_precision(capsys: pytest.CaptureFixture[str], weights: str) -> None:

    assert run(capsys, "convert", weights, "half.npz", "--dtype", "float16")[0] == 0
    with np.load("half.npz") as stored:
        kinds = {stored[name].dtype for name in stored.files if name.endswith(".weight")}
    assert kinds == {np.dtype(np.float16)}
    before, after = checkpoint.read(weights), checkpoint.read("half.npz")
    for name, array in before.arrays.items():
        np.testing.assert_allclose(after.arrays[name], array, rtol=1e-3, atol=1e-4)


def test_half_precision_that_cannot_hold_a_value(capsys: pytest.CaptureFixture[str], weights: str) -> None:

    found = checkpoint.read(weights)
    arrays = dict(found.arrays)
    name = "resnet.embedder.embedder.normalization.running_var"
    arrays[name] = np.full_like(arrays[name], 70000.0)
    checkpoint.save_npz("large.npz", arrays, found.config, found.preprocessing)
    status, _, err = run(capsys, "convert", "large.npz", "half.npz", "--dtype", "float16")
    assert status == 1
    assert f"{name} holds values up to 70000" in err
    assert not Path("half.npz").exists()


def test_convert_changes_the_configuration(capsys: pytest.CaptureFixture[str], weights: str) -> None:

    argv = ("convert", weights, "b.npz", "--set", "output_stride=8", "--set", "hidden_act=silu", "--set")
    assert run(capsys, *argv, "downsample_in_first_stage=true")[0] == 1  # would need one more shortcut
    assert run(capsys, *argv, "dropout=0.5")[0] == 0
    config = checkpoint.read("b.npz").config
    assert (config.output_stride, config.hidden_act, config.dropout) == (8, "silu", 0.5)


@pytest.mark.parametrize(
    ("pair", "words"),
    [("output_strid=8", "did you mean 'output_stride'"), ("output_stride", "FIELD=VALUE"), ("depths=[2,1]", "missing"),
     ("output_stride=7", "choose one of")],
)  # fmt: skip
def test_overrides_that_make_no_sense(capsys: pytest.CaptureFixture[str], weights: str, pair: str, words: str) -> None:
    status, _, err = run(capsys, "convert", weights, "b.npz", "--set", pair)
    assert status == 1
    assert words in err
    assert err.count("\n") == 1
    assert not Path("b.npz").exists()


def test_convert_changes_the_preprocessing(capsys: pytest.CaptureFixture[str], weights: str) -> None:

    assert run(capsys, "convert", weights, "b.npz", "--preprocessing", "timm")[0] == 0
    assert ImageProcessor.from_dict(checkpoint.read("b.npz").preprocessing or {}) == ImageProcessor.timm()
    Path("p.json").write_text(json.dumps(ImageProcessor.torchvision(232).to_dict()))
    assert run(capsys, "convert", weights, "c.npz", "--preprocessing", "p.json")[0] == 0
    assert ImageProcessor.from_dict(checkpoint.read("c.npz").preprocessing or {}) == ImageProcessor.torchvision(232)
    for bad in ("tim", "missing.json"):
        status, _, err = run(capsys, "convert", weights, "d.npz", "--preprocessing", bad)
        assert status == 1
        assert bad in err


def test_convert_does_not_overwrite(capsys: pytest.CaptureFixture[str], weights: str) -> None:
    Path("b.npz").write_bytes(b"precious")
    status, _, err = run(capsys, "convert", weights, "b.npz")
    assert status == 1
    assert err == "npresnet: b.npz: exists already; --force (or force=True) replaces it\n"
    assert Path("b.npz").read_bytes() == b"precious"
    assert run(capsys, "convert", weights, "b.npz", "--force")[0] == 0
    assert run(capsys, "convert", "b.npz", "b.npz", "--force", "--dtype", "float16")[0] == 0  # in place


@pytest.mark.parametrize("target", ["b.pth", "b.bin", "b.h5"])
def test_convert_to_what_cannot_be_written(capsys: pytest.CaptureFixture[str], weights: str, target: str) -> None:
    status, _, err = run(capsys, "convert", weights, target)
    assert status == 1
    assert "expected .npz, .safetensors, or a directory" in err


def test_convert_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "convert", "gone.pth", "b.npz")
    assert status == 1
    assert "gone.pth" in err
    assert list(Path().iterdir()) == []


def test_convert_to_grey_pictures(capsys: pytest.CaptureFixture[str], weights: str) -> None:
    assert run(capsys, "convert", weights, "grey.npz", "--set", "num_channels=1")[0] == 0
    before, after = checkpoint.read(weights), checkpoint.read("grey.npz")
    name = "resnet.embedder.embedder.convolution.weight"
    np.testing.assert_array_equal(after.arrays[name][:, 0], before.arrays[name].sum(axis=1))
    assert ImageProcessor.from_dict(after.preprocessing or {}).num_channels == 1
