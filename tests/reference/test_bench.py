"""``npresnet bench`` with its peers: the files that they are given hold the same network, and they take part."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny import run

import npresnet
from npresnet.benchmark import BenchmarkError, material, starts, turns
from npresnet.benchmark.check import judge
from npresnet.benchmark.contestants import Contestant
from npresnet.benchmark.runners import load_runner
from npresnet.config import PRESETS, ResNetConfig

BASIC: dict[str, Any] = {"layer_type": "basic", "embedding_size": 16, "hidden_sizes": (16, 24), "depths": (2, 1)}
BOTTLENECK: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": (64, 128), "depths": (1, 2)}
NETWORKS: dict[str, dict[str, Any]] = {
    "basic": BASIC,
    "bottleneck": BOTTLENECK,
    "v1": {**BOTTLENECK, "downsample_in_bottleneck": True},
    "deep stem": {**BASIC, "stem_type": "deep", "shortcut_type": "avg_down"},
    "deep stem, bottleneck": {**BOTTLENECK, "stem_type": "deep", "shortcut_type": "avg_down"},
    "groups": {**BOTTLENECK, "groups": 8, "width_per_group": 8},
    "wide": {**BOTTLENECK, "width_per_group": 128},
    "CIFAR": {
        "layer_type": "basic", "embedding_size": 16, "hidden_sizes": (16, 32, 64), "depths": (1, 2, 1),
        "stem_type": "cifar", "shortcut_type": "zero_pad",
    },
    "Caffe": {**BASIC, "stem_pool": "caffe"},
}  # fmt: skip


@pytest.fixture
def prepared(tmp_path: Path) -> material.Material:
    """Files of a small network for every engine, and five pictures."""
    material.prepare(ResNetConfig(**BASIC, num_labels=30), 48, 5, tmp_path, ["npresnet", "torch", "onnxruntime"])
    return material.Material(tmp_path)


def test_the_right_logits_are_those_of_transformers(prepared: material.Material) -> None:
    model = transformers.ResNetForImageClassification.from_pretrained(prepared.transformers).double().eval()
    with torch.inference_mode():
        theirs = model(torch.from_numpy(np.load(prepared.images)).double()).logits.numpy()
    expected = np.load(prepared.logits)
    assert expected.dtype == np.float64
    np.testing.assert_allclose(expected, theirs, rtol=1e-9, atol=1e-10)
    assert expected.std(axis=0).mean() > 0.05 * expected.std(axis=1).mean()  # they depend on the picture


@pytest.mark.parametrize("way", ["eager", "channels-last"])
def test_torch(prepared: material.Material, way: str) -> None:
    images = prepared.first_images(3)
    logits = load_runner(Contestant("torch", "float32", way), prepared, 1)(images)()
    assert judge(logits, np.load(prepared.logits)[:3], "float32").largest < 1e-4
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("image", [(32, 32), (45, 67)])
def test_onnx_files(tmp_path: Path, name: str, image: tuple[int, int]) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from npresnet.benchmark.onnx_export import export

    model = npresnet.ResNetForImageClassification(ResNetConfig(**NETWORKS[name], num_labels=11), seed=0)
    x = np.random.default_rng(1).standard_normal((3, 3, *image), np.float32)
    material.calibrate(model, x, seed=2)
    export(model, image, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        (found,) = session.run(None, {"pixel_values": x[:batch]})
        assert judge(found, model(x[:batch]).logits, "float32").largest < 1e-4


def test_every_preset_is_of_a_kind_that_the_exporter_knows() -> None:
    pytest.importorskip("onnx")
    from npresnet.benchmark.onnx_export import Graph, write

    for name in PRESETS:
        model = npresnet.ResNetForImageClassification(npresnet.preset(name), _initialize=False)
        graph = Graph()
        graph.constant = lambda name, value: name  # type: ignore[method-assign]  # the weights do not matter
        write(model, graph, "", "pixel_values", "logits")
        layers = sum(node.op_type in ("Conv", "Gemm") for node in graph.nodes)
        assert layers == sum(row.kind in ("Conv2d", "Linear") for row in model.summary(depth=None).rows)


def test_what_the_exporter_does_not_know(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from npresnet.benchmark.onnx_export import export

    for fields, words in (
        ({"hidden_act": "gelu"}, "gelu; the ONNX exporter knows relu only"),
        ({"global_pool": "max"}, "max; the ONNX exporter knows avg only"),
        (
            {"shortcut_type": "avg_down", "output_stride": 8, "hidden_sizes": (8, 16, 24, 32), "depths": (1,) * 4},
            "stride 1",
        ),
    ):
        model = npresnet.ResNetForImageClassification(ResNetConfig(**{**BASIC, **fields}))
        with pytest.raises(BenchmarkError, match=words):
            export(model, (32, 32), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_int8_of_onnx_runtime(prepared: material.Material) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from npresnet.benchmark.quantized_onnx import quantize

    quantize(prepared)
    assert sorted(path.name for path in prepared.folder.glob("*.onnx")) == ["float32.onnx", "int8.onnx"]
    graph = onnx.load(prepared.onnx("int8")).graph
    kinds = [node.op_type for node in graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("QuantizeLinear") > kinds.count("Conv") == 8
    weights = [w for w in graph.initializer if w.data_type == onnx.TensorProto.INT8 and len(w.dims) == 4]
    assert len(weights) == 8
    logits = load_runner(Contestant("onnxruntime", "int8"), prepared, 1)(prepared.first_images(5))()
    verdict = judge(logits, np.load(prepared.logits), "int8")
    assert verdict.right
    assert 1e-3 < verdict.rms < 0.2


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(PRESETS, "small", {**BASIC, "num_labels": 30})
    monkeypatch.setitem(PRESETS, "deep", {**NETWORKS["deep stem"], "num_labels": 30})
    monkeypatch.setattr(turns, "SECONDS", 0.0)
    monkeypatch.setattr(turns, "PAUSE", 0.0)
    monkeypatch.setattr(starts, "REPEATS", 1)


@pytest.mark.usefixtures("quick")
def test_all_together(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    options = ("--size", 48, "--batch", "1,2", "--rounds", 2, "--threads", 1, "--precision", "float32,int8")
    status, out, err = run(capsys, "bench", "--model", "small,deep", *options, "--output", "bench.json")
    assert status == 0, err
    document = json.loads(Path("bench.json").read_text())
    small, deep = document["models"]
    results = [result for result in small["results"] if result["engine"] != "npresnet"]
    assert [(r["contestant"], r["batch"]) for r in results] == [
        (name, batch)
        for batch in (1, 2)
        for name in ("torch eager", "torch channels-last", "onnxruntime float32", "onnxruntime int8")
    ]
    for result in small["results"] + deep["results"]:
        assert result["status"] == "timed"
        assert result["ratio"] > 0
        assert result["error"]["largest"] < (1e-4 if result["precision"] == "float32" else 1)
    assert {result["engine"] for result in deep["results"]} == {"npresnet", "onnxruntime"}
    assert any("deep: torch is left out" in note for note in document["notes"])
    names = [start["contestant"] for start in small["starts"] if not start["contestant"].startswith("npresnet")]
    assert names == ["torch eager", "onnxruntime float32", "onnxruntime int8"]
    for start in small["starts"]:
        assert start["start_seconds"] > 0
        assert start["peak_memory_bytes"] > 1e7
        assert ("start_seconds_empty_cache" in start) == start["contestant"].startswith("npresnet")
    assert [path.name for path in Path().iterdir()] == ["bench.json"]
    assert "torch channels-last" in out


@pytest.mark.usefixtures("quick")
def test_a_peer_with_other_weights_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from npresnet.benchmark.match import Match
    from npresnet.benchmark.onnx_export import export

    prepare = Match._prepare

    def with_other_weights(self: Match, config: ResNetConfig, size: int) -> dict[str, int]:
        counts = prepare(self, config, size)
        model = npresnet.load(self.material.weights)
        model.get_classifier().weight.data[3, 5] += 0.05
        export(model, (size, size), self.material.onnx("float32"))
        return counts

    monkeypatch.setattr(Match, "_prepare", with_other_weights)
    options = ("--size", 48, "--batch", "2", "--rounds", 1, "--threads", 1, "--precision", "float32", "--no-starts")
    status, out, _ = run(capsys, "bench", "--model", "small", "--vs", "onnxruntime", *options)
    assert status == 1
    (row,) = [line.split() for line in out.splitlines() if line.startswith("onnxruntime float32  ")]
    assert row[3] == "wrong"
