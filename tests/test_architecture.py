"""The configuration found from names and shapes alone, for published and for random architectures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resnet_arrays import BASIC, BOTTLENECK, MODELS, golden_shapes, placeholders, resnet_shapes

from npresnet.checkpoint.architecture import default_preprocessing, identify, infer_config
from npresnet.checkpoint.errors import CheckpointError
from npresnet.checkpoint.names import from_canonical
from npresnet.config import PRESETS, ResNetConfig, preset
from npresnet.image import ImageProcessor
from npresnet.labels import CIFAR10_LABELS, imagenet_labels

RESNET18 = resnet_shapes(depths=(2, 2, 2, 2), **BASIC)
RESNET50 = resnet_shapes(depths=(3, 4, 6, 3), **BOTTLENECK)
GOLDEN_PRESETS = {
    "torchvision_resnet18": preset("resnet18", num_labels=12),
    "torchvision_resnet50": preset("resnet50", num_labels=12),
    "torchvision_resnet152": preset("resnet152", num_labels=12),
    "torchvision_resnet50_dilated_os8": preset("resnet50", num_labels=12),
    "torchvision_resnext50_32x4d": preset("resnext50_32x4d", num_labels=12),
    "torchvision_wide_resnet101_2": preset("wide_resnet101_2", num_labels=12),
    "timm_resnet18_catavgmax": preset("resnet18", num_labels=12, global_pool="catavgmax"),
    "timm_resnet18d": preset("resnet18d", num_labels=12),
    "timm_resnet34_gray": preset("resnet34", num_labels=12, num_channels=1),
    "timm_resnet50_os16": preset("resnet50", num_labels=12),
}


@pytest.mark.parametrize("tag", sorted(MODELS))
def test_golden_models(tag: str) -> None:
    assert identify(placeholders(golden_shapes(tag)))[2] == GOLDEN_PRESETS[tag]


def shapes_of(config: ResNetConfig) -> dict[str, tuple[int, ...]]:
    """The arrays of a configuration, by the tests' own account."""
    width, size = config.stem_width, config.embedding_size
    stems = {
        "basic": ((size, 7),),
        "cifar": ((size, 3),),
        "deep": ((width, 3), (width, 3), (size, 3)),
        "deep_tiered": ((width // 4 * 3, 3), (width, 3), (size, 3)),
    }
    return resnet_shapes(
        config.depths, config.hidden_sizes, config.layer_type, size, stems[config.stem_type], config.groups,
        config.width_per_group / 64, config.downsample_in_first_stage, config.shortcut_type not in ("zero_pad", "none"),
        config.num_channels, config.num_labels, 2 if config.global_pool == "catavgmax" else 1,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets(name: str) -> None:
    config = preset(name)
    labels = {1000: imagenet_labels(), 10: CIFAR10_LABELS}[config.num_labels]
    config = config.replace(id2label=dict(enumerate(labels)))
    if config.shortcut_type == "none":  # the same arrays as with shortcuts that have none
        config = config.replace(shortcut_type="zero_pad")
    naming = "timm" if config.stem_type == "deep" else "torchvision"
    raw = from_canonical(placeholders(shapes_of(config)), naming, config.shortcut_type)
    assert identify(raw)[1:] == ("cifar" if config.stem_type == "cifar" else naming, config)


@st.composite
def configs(draw: st.DrawFn) -> ResNetConfig:
    """Configurations that leave all their traces in names and shapes."""
    stages = draw(st.integers(1, 4))
    layer_type = draw(st.sampled_from(["basic", "bottleneck"]))
    shortcut_type = draw(st.sampled_from(["projection", "zero_pad", "avg_down"]))
    unit = draw(st.sampled_from([4, 8, 64, 256]))
    sizes = [unit * draw(st.integers(1, 6)) for _ in range(stages)]
    embedding = draw(st.sampled_from([sizes[0], unit, 17]))
    if shortcut_type == "zero_pad":
        sizes.sort()
        embedding = min(embedding, sizes[0])
    if shortcut_type != "projection" and stages == 1 and embedding == sizes[0]:
        shortcut_type = "projection"  # there is no shortcut to tell
    stem_type = draw(st.sampled_from(["basic", "cifar", "deep", "deep_tiered"]))
    bottleneck = layer_type == "bottleneck"
    return ResNetConfig(
        depths=tuple(draw(st.integers(1, 12)) for _ in sizes),
        hidden_sizes=tuple(sizes),
        layer_type=layer_type,
        embedding_size=embedding,
        stem_type=stem_type,
        stem_width=draw(st.integers(5, 40)) if stem_type.startswith("deep") else 32,
        groups=draw(st.sampled_from([1, 2, 32])) if bottleneck else 1,
        width_per_group=draw(st.sampled_from([64, 128, 80, 4] if unit >= 64 else [64, 128, 80])) if bottleneck else 64,
        shortcut_type=shortcut_type,
        downsample_in_first_stage=embedding == sizes[0] and shortcut_type != "zero_pad" and draw(st.booleans()),
        num_channels=draw(st.sampled_from([1, 3, 4])),
        num_labels=draw(st.sampled_from([0, 1, 7, 10])),
    )


def namings_of(config: ResNetConfig) -> list[str]:
    """The namings that can write a configuration."""
    if config.stem_type.startswith("deep") or config.shortcut_type == "avg_down":
        return ["timm"]
    return ["transformers", "torchvision", "timm", "cifar"]


@settings(max_examples=150, deadline=None)
@given(configs(), st.data())
def test_any_configuration_comes_back_from_any_naming(config: ResNetConfig, data: st.DataObject) -> None:
    if data.draw(st.booleans(), "catavgmax") and config.num_labels:
        config = config.replace(global_pool="catavgmax")
    arrays = placeholders(shapes_of(config))
    naming = data.draw(st.sampled_from(namings_of(config)), "naming")
    raw = from_canonical(arrays, naming, config.shortcut_type)
    order = data.draw(st.permutations(list(raw)) if len(raw) < 60 else st.just(sorted(raw, reverse=True)), "order")
    canonical, _, found = identify({key: raw[key] for key in order})
    assert canonical.keys() == arrays.keys()
    assert all(canonical[name] is arrays[name] for name in arrays)
    if config.num_labels == 10 and config.stem_type == "cifar":
        config = config.replace(id2label=dict(enumerate(CIFAR10_LABELS)))
    # Several numbers can give the same integer width; the widths are what counts.
    assert [found.bottleneck_width(s) for s in config.hidden_sizes] == [
        config.bottleneck_width(s) for s in config.hidden_sizes
    ]
    assert found == config.replace(width_per_group=found.width_per_group)


@settings(max_examples=150, deadline=None)
@given(configs(), st.data())
def test_one_missing_or_misshapen_array_is_found(config: ResNetConfig, data: st.DataObject) -> None:
    shapes = shapes_of(config)
    shortcut_type = "avg_down" if config.shortcut_type == "avg_down" else None
    name = data.draw(st.sampled_from([n for n in shapes if not n.endswith("num_batches_tracked")]), "array")
    if data.draw(st.booleans(), "remove"):
        del shapes[name]
    else:
        # The first convolution may have any number of input channels.
        first = name.startswith("resnet.embedder") and len(shapes[name]) == 4
        axis = data.draw(st.sampled_from([a for a in range(len(shapes[name])) if not (first and a == 1)]), "axis")
        shapes[name] = tuple(n + (i == axis) for i, n in enumerate(shapes[name]))
    with pytest.raises(CheckpointError):
        infer_config(placeholders(shapes), shortcut_type=shortcut_type)


def rejected(changes: dict[str, tuple[int, ...] | None], shapes: dict[str, tuple[int, ...]] = RESNET18) -> str:
    """The message for arrays with some shapes changed (None: removed, with everything below that name)."""
    wrong = {n: s for n, s in shapes.items() if not any(v is None and n.startswith(k) for k, v in changes.items())}
    wrong |= {name: shape for name, shape in changes.items() if shape is not None}
    with pytest.raises(CheckpointError) as caught:
        infer_config(placeholders(wrong))
    return str(caught.value)


BLOCKS = "resnet.encoder.stages.2.layers."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {f"{BLOCKS}0.layer.0.convolution.weight": (256, 64, 3, 3)},
            f"{BLOCKS}0.layer.0.convolution.weight: expected shape (256, 128, 3, 3), found (256, 64, 3, 3)",
        ),
        ({f"{BLOCKS}0.": None}, f"{BLOCKS}0: missing, but {BLOCKS}1 is there"),
        ({"resnet.encoder.stages.2.": None}, "resnet.encoder.stages.2: missing, but resnet.encoder.stages.3 is there"),
        ({"resnet.encoder.": None}, "resnet.encoder.stages.0: missing; expected a ResNet"),
        (
            {f"{BLOCKS}1.layer.1.": None},
            f"{BLOCKS}1.layer.1.convolution.weight: missing, expected shape (256, 256, 3, 3)",
        ),
        (
            {f"{BLOCKS}0.shortcut.": None},
            f"{BLOCKS}0.shortcut.normalization.bias: missing, expected shape (256,)",
        ),
        (
            {f"{BLOCKS}1.shortcut.convolution.weight": (256, 256, 1, 1)},
            f"{BLOCKS}1.shortcut.convolution.weight: unexpected, found shape (256, 256, 1, 1)",
        ),
        (
            {"resnet.embedder.embedder.convolution.weight": (64, 3, 5, 5)},
            "resnet.embedder.embedder.convolution.weight: expected a kernel of 7x7 (ImageNet) or 3x3 (CIFAR), "
            "found shape (64, 3, 5, 5)",
        ),
        ({"resnet.embedder.": None}, "resnet.embedder.embedder.convolution.weight: missing"),
        (
            {"resnet.embedder.embedder.convolution.weight": (64, 147)},
            "resnet.embedder.embedder.convolution.weight: expected 4 dimensions of at least 1, found shape (64, 147)",
        ),
        (
            {"classifier.1.weight": (1000, 500)},
            "classifier.1.weight: expected shape (1000, 512), found (1000, 500)",
        ),
        ({"classifier.1.weight": None}, "classifier.1.bias: unexpected, found shape (1000,)"),
        ({f"{BLOCKS}0.layer.1.convolution.weight": (0, 256, 3, 3)}, "found shape (0, 256, 3, 3)"),
        (
            {f"{BLOCKS}1.layer.3.convolution.weight": (256, 256, 3, 3)},
            "a residual layer has 2 (basic) or 3 (bottleneck) convolutions, found 4",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, tuple[int, ...] | None], message: str) -> None:
    assert message in rejected(changes)


def test_more_that_does_not_fit() -> None:
    uneven = "resnet.encoder.stages.1.layers.0.layer.1.convolution.weight"
    message = rejected({uneven: (128, 4, 3, 3)}, RESNET50)
    assert f"{uneven}: expected shape (128, 128, 3, 3), found (128, 4, 3, 3)" in message
    stem = ((20, 3), (32, 3), (64, 3))
    deep = resnet_shapes((1,), (64,), "basic", stem=stem)
    assert "the first of a deep stem has 32 or 24, found shape (20, 3, 3, 3)" in rejected({}, deep)
    narrowing = resnet_shapes((1, 1), (64, 32), "basic", shortcuts=False)
    assert "impossible ResNet: shortcut_type='zero_pad' can only add channels" in rejected({}, narrowing)
    no_whole_width = resnet_shapes((1,), (4096,), "bottleneck", width_factor=1030 / 1024)
    assert "width_per_group=65" in rejected({}, no_whole_width)
    assert "expected shape (1040,), found (1030,)" in rejected({}, no_whole_width)


@pytest.mark.parametrize(("missing", "output_stride"), [((), 32), ((3,), 16), ((2, 3), 8)])
def test_dilation_shows_where_a_stage_keeps_its_size(missing: tuple[int, ...], output_stride: int) -> None:
    shapes = resnet_shapes((1, 1, 1, 1), (64, 64, 64, 64), "basic")
    without = tuple(f"resnet.encoder.stages.{s}.layers.0.shortcut." for s in missing)
    arrays = placeholders({name: shape for name, shape in shapes.items() if not name.startswith(without)})
    config = infer_config(arrays)
    assert (config.shortcut_type, config.output_stride) == ("projection", output_stride)


def test_statistics_need_no_counters() -> None:
    shapes = {name: shape for name, shape in RESNET50.items() if not name.endswith("num_batches_tracked")}
    assert infer_config(placeholders(shapes)).depths == (3, 4, 6, 3)


def test_what_only_the_origin_says() -> None:
    arrays = placeholders(RESNET50)
    caffe, keras, plain = (infer_config(arrays, naming) for naming in ("caffe", "keras", "torchvision"))
    assert (plain.downsample_in_bottleneck, plain.stem_pool, plain.batch_norm_eps) == (False, "max", 1e-5)
    assert (caffe.downsample_in_bottleneck, caffe.stem_pool, caffe.batch_norm_eps) == (True, "caffe", 1e-5)
    assert (keras.downsample_in_bottleneck, keras.stem_pool, keras.batch_norm_eps) == (True, "max", 1.001e-5)
    assert not infer_config(placeholders(RESNET18), "caffe").downsample_in_bottleneck


def test_labels() -> None:
    assert infer_config(placeholders(RESNET50)).id2label[281] == "tabby"
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert (labels[0], labels[207], labels[999]) == ("tench", "golden retriever", "toilet tissue")
    cifar = resnet_shapes((1, 1), (16, 32), "basic", 16, stem=((16, 3),), shortcuts=False, num_labels=10)
    assert infer_config(placeholders(cifar)).id2label[8] == "ship"
    ten = resnet_shapes((1,), (64,), "basic", num_labels=10)
    assert infer_config(placeholders(ten)).id2label[8] == "LABEL_8"
    assert infer_config(placeholders({n: s for n, s in ten.items() if "classifier" not in n})).num_labels == 0


def test_preprocessing_by_origin() -> None:
    imagenet, cifar = preset("resnet18"), preset("resnet20")

    def processor(naming: str, config: ResNetConfig = imagenet) -> ImageProcessor:
        return ImageProcessor.from_dict(json.loads(json.dumps(default_preprocessing(naming, config))))

    found = {naming: processor(naming) for naming in ("transformers", "torchvision", "timm", "caffe", "keras")}
    assert {naming: (p.size["shortest_edge"], p.resample, p.crop_pct) for naming, p in found.items()} == {
        "transformers": (224, 3, 0.875),
        "torchvision": (256, 2, None),
        "timm": (235, 3, None),
        "caffe": (256, 2, None),
        "keras": (256, 2, None),
    }
    white = np.full((300, 400, 3), 255, np.uint8) - np.array([0, 10, 20], np.uint8)  # R, G, B = 255, 245, 235
    rgb = (np.array([255, 245, 235]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    bgr = np.array([235, 245, 255]) - [103.939, 116.779, 123.68]
    for naming, one in found.items():
        values = one(white)
        assert values.shape == (1, 3, 224, 224)
        np.testing.assert_allclose(values[0, :, 100, 100], bgr if naming in ("caffe", "keras") else rgb, rtol=1e-5)
    assert processor("cifar", cifar)(white).shape == processor("transformers", cifar)(white).shape == (1, 3, 32, 32)
    grey = processor("torchvision", preset("resnet18", num_channels=1))(white)
    np.testing.assert_allclose(grey[0, 0, 0, 0], (247 / 255 - 0.449) / 0.226, rtol=1e-5)


def test_the_golden_files_are_all_used() -> None:
    assert {path.stem for path in (Path(__file__).parent / "golden").glob("t*_*.npz")} == GOLDEN_PRESETS.keys()
