"""The table of published weights against the architectures it names, computed here from the shapes."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from npresnet.config import PRESETS, ResNetConfig
from npresnet.image import ImageProcessor
from npresnet.manifest import ARCHITECTURES, MANIFEST, PublishedWeights, find

ENTRIES = pytest.mark.parametrize("entry", MANIFEST.values(), ids=lambda entry: entry.name)

V1_ACCURACIES = (69.758, 73.314, 76.130, 77.374, 78.312, 77.618, 79.312, 78.468, 78.848)  # torchvision's first weights


class Size(NamedTuple):
    parameters: int
    buffers: int  # running means and variances
    counters: int  # one int64 a BatchNorm
    macs: int


def size_of(config: ResNetConfig, side: int = 224) -> Size:
    """Count a plain ResNet by its shapes: a 7x7 stem, then convolutions of known sizes, then the classifier."""
    parameters = buffers = counters = macs = 0

    def conv(inputs: int, outputs: int, kernel: int, groups: int, side: int) -> None:
        nonlocal parameters, buffers, counters, macs
        weights = outputs * inputs // groups * kernel * kernel
        parameters += weights + 2 * outputs
        buffers += 2 * outputs
        counters += 1
        macs += weights * side * side

    side //= 2
    conv(3, config.embedding_size, 7, 1, side)
    side //= 2
    inputs = config.embedding_size
    for stage, (outputs, depth) in enumerate(zip(config.hidden_sizes, config.depths, strict=True)):
        for layer in range(depth):
            stride = 2 if stage > 0 and layer == 0 else 1
            after = side // stride
            if inputs != outputs or stride != 1:
                conv(inputs, outputs, 1, 1, after)
            if config.layer_type == "basic":
                conv(inputs, outputs, 3, 1, after)
                conv(outputs, outputs, 3, 1, after)
            else:
                width = outputs // 4 * config.width_per_group // 64 * config.groups
                conv(inputs, width, 1, 1, side)
                conv(width, width, 3, config.groups, after)
                conv(width, outputs, 1, 1, after)
            inputs, side = outputs, after
    parameters += inputs * 1000 + 1000
    return Size(parameters, buffers, counters, macs + inputs * 1000)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_macs_and_bytes_follow_from_the_architecture(name: str) -> None:
    entry = next(entry for entry in MANIFEST.values() if entry.architecture == name)
    size = size_of(entry.config)
    stated = ARCHITECTURES[name]
    assert stated.parameters == size.parameters
    assert stated.gmacs == pytest.approx(size.macs / 1e9, abs=5e-4)
    values = 4 * (size.parameters + size.buffers) + 8 * size.counters
    assert stated.mebibytes == pytest.approx(values / 2**20, abs=6e-3)


@ENTRIES
def test_a_file_is_as_large_as_its_arrays(entry: PublishedWeights) -> None:
    half = entry.name in ("wide_resnet50_2.v1", "wide_resnet101_2.v1")  # stored in float16
    expected = ARCHITECTURES[entry.architecture].mebibytes / (2 if half else 1)
    assert expected * 0.999 < entry.mebibytes < expected * 1.005


@ENTRIES
def test_an_entry_is_complete_and_plausible(entry: PublishedWeights) -> None:
    assert entry.architecture in PRESETS
    assert entry.config.num_labels == 1000
    assert entry.url.startswith("https://")
    assert entry.sha256 is None or re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256)
    if entry.top1 is not None:
        assert entry.top5 is not None
        assert 69 < entry.top1 < entry.top5 < 97
    assert re.fullmatch(r"[a-z0-9_./-]+", entry.name)
    assert "/" not in entry.file_name


@ENTRIES
def test_torchvision_states_the_hash_in_the_file_name(entry: PublishedWeights) -> None:
    in_the_name = re.search(r"-([0-9a-f]{8})\.pth$", entry.url)
    if entry.source == "torchvision":
        assert in_the_name is not None
        assert entry.sha256 == in_the_name[1]
        assert entry.url.rsplit("/", 1)[1].startswith(entry.architecture + "-")
    else:
        assert in_the_name is None


@ENTRIES
def test_the_preprocessing_is_that_of_the_publisher(entry: PublishedWeights) -> None:
    recipe = entry.name.rpartition(".")[2]
    expected = {
        "torchvision": lambda: ImageProcessor.torchvision(256 if entry.top1 in V1_ACCURACIES else 232),
        "timm": lambda: ImageProcessor.timm(crop_pct=0.875 if recipe == "bt" else 0.95),
        "transformers": ImageProcessor.transformers,
    }[entry.source]()
    assert ImageProcessor.from_dict(entry.preprocessing) == expected


def test_urls_files_and_hashes_are_not_shared() -> None:
    entries = list(MANIFEST.values())
    assert len({entry.url for entry in entries}) == len(entries)
    assert len({entry.file_name for entry in entries}) == len(entries)
    hashes = [entry.sha256 for entry in entries if entry.sha256]
    assert len(set(hashes)) == len(hashes)


def test_figures_that_the_publishers_state() -> None:
    assert (MANIFEST["resnet50"].top1, MANIFEST["resnet50"].sha256) == (80.858, "11ad3fa6")
    assert (MANIFEST["resnet50.v1"].top1, MANIFEST["resnet50.v1"].sha256) == (76.130, "0676ba61")
    assert MANIFEST["resnet50"].preprocessing["size"] == {"shortest_edge": 232}
    assert MANIFEST["resnet50.v1"].preprocessing["size"] == {"shortest_edge": 256}
    assert MANIFEST["resnet18.a1"].url == "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    assert MANIFEST["microsoft/resnet-50"].file_name == "microsoft--resnet-50--model.safetensors"


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("resnet50", "resnet50"), ("ResNet50", "resnet50"), ("resnet50.v2", "resnet50"), ("resnet18.v1", "resnet18"),
        ("torchvision/resnet50.v1", "resnet50.v1"), ("resnet50.a1_in1k", "resnet50.a1"),
        ("timm/resnet50.a1_in1k", "resnet50.a1"), ("timm/resnet50.a1", "resnet50.a1"),
        ("microsoft/resnet-152", "microsoft/resnet-152"),
    ],
)  # fmt: skip
def test_names_and_their_other_spellings(spelling: str, name: str) -> None:
    assert find(spelling).name == name


@pytest.mark.parametrize(
    ("wrong", "suggestion"),
    [("resnet5O", "resnet50"), ("timm/resnet50", "resnet50.a1"), ("resnet18.v2", "resnet18"), ("resnet-50", "resnet50"),
     ("microsoft/resnet-99", "microsoft/resnet-")],
)  # fmt: skip
def test_a_wrong_name_is_answered_with_near_ones(wrong: str, suggestion: str) -> None:
    with pytest.raises(ValueError, match=f"'{wrong}'.*did you mean.*{suggestion}.*fetch --list"):
        find(wrong)


def test_a_hopeless_name_points_to_the_list() -> None:
    with pytest.raises(ValueError, match="`npresnet fetch --list`"):
        find("vgg")
