"""``model.summary()``: published figures, the shapes of a real forward pass, and how it is printed."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny

import npresnet
from npresnet import ResNetBackbone, ResNetConfig, ResNetForImageClassification, ResNetModel
from npresnet.image import ImageProcessor
from npresnet.nn import Conv2d, Linear, MaxPool2d, Module
from npresnet.resnet import ResNetPreTrainedModel
from npresnet.shapes import output_shape
from npresnet.summary import Summary, summarize

# torchvision's documentation of its weights: parameters, GFLOPS (multiply-adds of convolutions and linear layers).
PUBLISHED = {
    "resnet18": (11_689_512, "1.814"),
    "resnet34": (21_797_672, "3.664"),
    "resnet50": (25_557_032, "4.089"),
    "resnet101": (44_549_160, "7.801"),
    "resnet152": (60_192_808, "11.514"),
    "resnext50_32x4d": (25_028_904, "4.230"),
    "resnext101_32x8d": (88_791_336, "16.414"),
    "wide_resnet50_2": (68_883_240, "11.398"),
    "wide_resnet101_2": (126_886_696, "22.753"),
}

BASIC: dict[str, Any] = {"layer_type": "basic", "embedding_size": 4, "hidden_sizes": (4, 8, 12), "depths": (1, 2, 1)}
BOTTLENECK: dict[str, Any] = {"embedding_size": 4, "hidden_sizes": (8, 16, 32), "depths": (2, 1, 1)}
CIFAR = {"stem_type": "cifar", "shortcut_type": "zero_pad"}
DEEP = {"stem_type": "deep", "stem_width": 6, "shortcut_type": "avg_down"}

ODD = [
    (BASIC, (37, 41)),
    (BASIC | CIFAR, (9, 13)),
    (BASIC | DEEP, (35, 50)),
    (BASIC | DEEP | {"output_stride": 8, "downsample_in_first_stage": True}, (33, 47)),
    (BASIC | {"hidden_act": "gelu", "dropout": 0.5, "drop_path_rate": 0.2, "num_channels": 5}, (1, 1)),
    (BOTTLENECK, (32, 32)),
    (BOTTLENECK | {"stem_pool": "caffe", "downsample_in_bottleneck": True}, (39, 58)),
    (BOTTLENECK | {"stem_pool": "caffe", "global_pool": "avgmax"}, (5, 6)),
    (BOTTLENECK | {"groups": 2, "width_per_group": 64, "global_pool": "catavgmax"}, (40, 31)),
    (BOTTLENECK | {"stem_type": "deep_tiered", "stem_width": 8, "output_stride": 8}, (65, 29)),
    (BOTTLENECK | DEEP | {"output_stride": 16, "downsample_in_first_stage": True, "num_channels": 1}, (63, 34)),
    (BOTTLENECK | {"shortcut_type": "zero_pad", "num_labels": 0}, (34, 34)),
    (BASIC | CIFAR | {"shortcut_type": "none"}, (9, 13)),
]


def of_preset(name: str, **changes: Any) -> Summary:
    return ResNetForImageClassification(npresnet.preset(name, **changes), _initialize=False).summary()


# Totals


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters_and_macs(name: str) -> None:
    summary = of_preset(name)
    params, gmacs = PUBLISHED[name]
    assert summary.input_size == (3, 224, 224)
    assert summary.params == params
    assert f"{summary.macs / 1e9:.3f}" == gmacs
    assert f"{gmacs} GMACs" in str(summary)
    assert f"{params:,} parameters" in str(summary)


def test_cifar_family_by_hand() -> None:
    summary = of_preset("resnet20")
    first = 1024 * 3 * 16 * 9
    stages = 6 * 1024 * 16 * 16 * 9 + 256 * (16 + 5 * 32) * 32 * 9 + 64 * (32 + 5 * 64) * 64 * 9
    assert summary.input_size == (3, 32, 32)
    assert summary.macs == first + stages + 64 * 10 == 40_551_040
    projected = of_preset("resnet20", shortcut_type="projection")  # usually quoted as 40.81 M
    assert projected.macs == summary.macs + 256 * 16 * 32 + 64 * 32 * 64 == 40_813_184


def test_activations_of_resnet50() -> None:
    assert f"{of_preset('resnet50').activations / 1e6:.1f}" == "11.1"  # timm


@pytest.mark.parametrize("model_class", [ResNetForImageClassification, ResNetModel, ResNetBackbone])
def test_totals_are_those_of_the_model(model_class: type[ResNetPreTrainedModel]) -> None:
    model = model_class(ResNetConfig(**BASIC))
    state = model.state_dict()
    learned = sum(p.data.size for p in model.parameters())
    summary = model.summary()
    assert summary.model == model_class.__name__
    assert (summary.params, summary.buffers) == (learned, sum(a.size for a in state.values()) - learned)
    assert summary.nbytes == sum(a.nbytes for a in state.values())
    assert model.astype(np.float64).summary().nbytes == sum(a.nbytes for a in model.state_dict().values())


def test_frozen_parameters() -> None:
    model = ResNetForImageClassification(ResNetConfig(**BASIC))
    assert model.summary().frozen == 0
    assert "frozen" not in str(model.summary())
    model.freeze("resnet.*")
    assert model.summary().frozen == model.num_parameters - 12 * 2 - 2
    assert f"({model.summary().frozen} frozen)" in str(model.summary()).replace(",", "")


def test_caches_are_not_buffers() -> None:
    model = ResNetForImageClassification(ResNetConfig(**BASIC)).train()
    with npresnet.use_backend("numpy"):
        model(np.ones((2, 3, 32, 32), np.float32))
    assert model.summary().buffers == sum(a.size for a in model.state_dict().values()) - model.num_parameters


# Every row, against a forward pass


@pytest.mark.parametrize(("fields", "side"), ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("model_class", [ResNetForImageClassification, ResNetModel, ResNetBackbone])
def test_rows_agree_with_a_forward_pass(
    model_class: type[ResNetPreTrainedModel], fields: dict[str, Any], side: tuple[int, int]
) -> None:
    model = model_class(ResNetConfig(**fields), seed=0)
    size = (model.config.num_channels, *side)
    with npresnet.use_backend("numpy"), model.trace() as seen:
        model(np.ones((2, *size), np.float32))
    rows = summarize(model, size, depth=None).rows
    assert {row.name: row.output_shape for row in rows} == {row.name: seen[row.name].shape[1:] for row in rows}

    modules = dict(model.named_modules())
    for row in rows:
        assert row.kind == type(modules[row.name]).__name__
        below = [(name, m) for name, m in modules.items() if f"{name}.".startswith(f"{row.name}.")]
        assert row.params == sum(p.data.size for p in modules[row.name].parameters())
        assert row.macs == sum(multiply_adds(m, seen[name].shape) for name, m in below if name in seen)
        assert row.activations == sum(seen[n].size // 2 for n, m in below if isinstance(m, (Conv2d, Linear)))
    working = [name for name, m in modules.items() if isinstance(m, (Conv2d, Linear))]
    assert not set(working) - {row.name for row in rows}


def multiply_adds(module: Module, output: tuple[int, ...]) -> int:
    """Each output is a sum of as many products as its filter has weights."""
    if not isinstance(module, (Conv2d, Linear)):
        return 0
    return int(module.weight.data[0].size * np.prod(output[1:]))


@pytest.mark.parametrize(("fields", "side"), ODD, ids=range(len(ODD)))
def test_a_row_is_the_sum_of_the_rows_below_it(fields: dict[str, Any], side: tuple[int, int]) -> None:
    model = ResNetForImageClassification(ResNetConfig(**fields), _initialize=False)
    summary = summarize(model, (model.config.num_channels, *side), depth=None)
    counts = np.array([row[4:] for row in summary.rows])
    levels = np.array([row.level for row in summary.rows])
    leaves = np.append(levels[1:] <= levels[:-1], True)
    totals = [summary.params, summary.buffers, summary.macs, summary.activations]
    assert counts[leaves].sum(axis=0).tolist() == totals
    for i in np.flatnonzero(~leaves):
        after = levels[i + 1 :] <= levels[i]
        end = i + 1 + int(after.argmax()) if after.any() else len(levels)
        children = np.arange(i + 1, end)[levels[i + 1 : end] == levels[i] + 1]
        assert counts[children].sum(axis=0).tolist() == counts[i].tolist()


@pytest.mark.parametrize("side", [(5, 9), (6, 6), (7, 12), (8, 5)])
def test_layers_of_any_geometry(side: tuple[int, int]) -> None:
    pools = [MaxPool2d(k, s, p, ceil_mode=c) for k, s, p, c in product((2, 3), (1, 2, 3), (0, 1), (False, True))]
    convolutions = [Conv2d(2, 3, k, s, p, d) for k, s, p, d in product((1, 3), (1, 2, 3), (0, 1, 3), (1, 2))]
    x = np.ones((1, 2, *side), np.float32)
    with npresnet.use_backend("numpy"):
        for layer in (*pools, *convolutions):
            assert output_shape(layer, x.shape[1:]) == layer(x).shape[1:], vars(layer)


def test_nothing_is_computed_or_compiled() -> None:
    code = (
        "import sys, npresnet; from npresnet.nn import Module, Conv2d; Conv2d.forward = Module.forward;"
        "npresnet.ResNet18().summary().table(); print('numba' in sys.modules, 'PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == (
        "False False\n"
    )


# Depth


def test_depth_folds_the_rows() -> None:
    summary = of_preset("resnet34")
    layers = [row for row in summary.rows if row.kind == "ResNetBasicLayer"]
    assert len(layers) == 3 + 4 + 6 + 3
    assert {row.level for row in summary.rows} == {1, 2}
    names = [row.name for row in summary.unfold(1).rows]
    stages = [f"resnet.encoder.stages.{i}" for i in range(4)]
    assert names == ["resnet.embedder", *stages, "resnet.pooler", "classifier.0", "classifier.1"]
    assert sum(row.kind == "ResNetConvLayer" for row in summary.unfold(3).rows) == 33
    assert sum(row.kind == "Conv2d" for row in summary.unfold().rows) == 36
    assert summary.unfold(4).rows == summary.unfold().rows
    assert summary.unfold(4).macs == summary.macs
    with pytest.raises(ValueError, match=r"depth must be at least 1, or None for every operation, found 0"):
        summary.unfold(0)


# Input size


def test_default_size_is_what_the_processor_makes() -> None:
    model = ResNetForImageClassification(ResNetConfig(**BASIC))
    for processor, side in [
        (ImageProcessor.transformers(288), (288, 288)),
        (ImageProcessor.torchvision(232, 192), (192, 192)),
        (ImageProcessor(size={"height": 64, "width": 96}, crop_pct=None), (64, 96)),
        (ImageProcessor(do_resize=False), (224, 224)),
    ]:
        model.processor = processor
        assert model.summary().input_size == (3, *side)
    for channels in (1, 4):
        assert ResNetModel(ResNetConfig(**BASIC, num_channels=channels)).summary().input_size == (channels, 224, 224)


def test_an_input_that_does_not_fit() -> None:
    model = ResNetForImageClassification(ResNetConfig(**BASIC, stem_pool="caffe"))
    with pytest.raises(ValueError, match=r"\(4, 32, 32\) has 4 channels but .* num_channels=3; pass \(3, 32, 32\)"):
        model.summary((4, 32, 32))
    with pytest.raises(
        ValueError,
        match=r"input_size \(3, 8, 4\) is too small for this network: resnet.embedder.pooler has an input of 4 x 4 x 2"
        r", but its window needs at least 3 pixels a side; use a larger image",
    ):
        model.summary((3, 8, 4))
    assert model.summary((3, 5, 5)).rows[0].output_shape == (4, 1, 1)
    wrong: list[Any] = [(3, 0, 32), (3, 32), (1, 3, 32, 32), 224, (3, 32.0, 32), "abc", (3, -1, 5)]
    for size in wrong:
        with pytest.raises(ValueError, match=r"input_size must be \(channels, height, width\)"):
            model.summary(size)


def test_an_unknown_layer() -> None:
    class Blur(Module):
        pass

    model = ResNetForImageClassification(ResNetConfig(**BASIC))
    model.resnet.embedder.pooler = Blur()
    with pytest.raises(TypeError, match="the output shape of Blur is not known"):
        model.summary()


# Text

SMALL = """\
ResNetForImageClassification, input 3 x 32 x 32

layer                    kind               output  parameters  MMACs
---------------------------------------------------------------------
resnet.embedder          Embeddings      4 x 8 x 8         596   0.15
  embedder               ConvLayer     4 x 16 x 16         596   0.15
  pooler                 MaxPool2d       4 x 8 x 8           0   0.00
resnet.encoder.stages.0  Stage           4 x 8 x 8         304   0.02
  layers.0               BasicLayer      4 x 8 x 8         304   0.02
resnet.encoder.stages.1  Stage           8 x 4 x 4         944   0.01
  layers.0               BasicLayer      8 x 4 x 4         944   0.01
resnet.pooler            GlobalPool2d    8 x 1 x 1           0   0.00
classifier.0             Flatten                 8           0   0.00
classifier.1             Linear                  2          18   0.00
---------------------------------------------------------------------
total                                                    1,862   0.18

1,862 parameters, 78 buffers, 7.784 KB
183.312 KMACs, 1.922 K activations for one image"""


def test_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    summary = ResNetForImageClassification(ResNetConfig(**tiny.FIELDS)).summary((3, 32, 32))
    assert str(summary) == repr(summary) == SMALL
    monkeypatch.setenv("COLUMNS", "50")
    assert str(summary) == summary.table(50) != SMALL


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_widest_network_fits_80_columns(depth: int) -> None:
    text = of_preset("wide_resnet101_2").unfold(depth).table(80)
    assert max(map(len, text.splitlines())) <= 80
    assert "kind" in text


@pytest.mark.parametrize("width", [79, 66, 55])
def test_narrow_terminals(width: int) -> None:
    summary = of_preset("wide_resnet101_2")
    lines = summary.table(width).splitlines()
    assert max(map(len, lines)) <= width
    assert "126,886,696" in summary.table(width)
    assert any("2048 x 7 x 7" in line and "stages.3" in line for line in lines)
    assert all(line == line.rstrip() or line.startswith("total") for line in lines)


def test_html() -> None:
    summary = of_preset("resnet18")
    table = ElementTree.fromstring(summary._repr_html_()).find("table")
    assert table is not None
    rows = [["".join(cell.itertext()) for cell in row] for row in table]
    assert rows[0] == ["layer", "kind", "output", "parameters", "MMACs"]
    assert rows[1] == ["resnet.embedder", "Embeddings", "64 x 56 x 56", "9,536", "118.01"]
    assert rows[-1] == ["total", "", "", "11,689,512", "1,814.07"]
    assert len(rows) == len(summary.rows) + 2


def test_to_dict_is_json() -> None:
    summary = of_preset("resnet18").unfold(1)
    values = json.loads(json.dumps(summary.to_dict()))
    assert (values["params"], values["macs"], values["input_size"]) == (11_689_512, 1_814_073_344, [3, 224, 224])
    assert sum(row["macs"] for row in values["rows"]) == values["macs"]
    assert values["rows"][-1] == {
        "name": "classifier.1", "level": 1, "kind": "Linear", "output_shape": [1000], "params": 513_000, "buffers": 0,
        "macs": 512_000, "activations": 1000,
    }  # fmt: skip


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = tiny.run(capsys, "summary", "resnet20", "--depth", 1, "--json")
    values = json.loads(out)
    assert (status, values["macs"], len(values["rows"])) == (0, 40_551_040, 7)
    status, out, _ = tiny.run(capsys, "summary", "resnet20", "--depth", 4, "--input-size", 64)
    assert (status, out.count(" Conv2d ")) == (0, 19)
    assert out.startswith("ResNetForImageClassification, input 3 x 64 x 64\n")
    assert tiny.run(capsys, "summary", "resnet20", "--depth", 0)[0] == 2
