"""The architecture of a ResNet from the names and shapes of its arrays, and what its origin says besides.

Shapes say almost everything. What they do not say follows from the framework that named the arrays (the stride inside
the bottleneck, epsilon, preprocessing) or, for the average pool of a ResNet-D shortcut, from the names themselves.
Strides, dilation and activations leave hardly a trace; a checkpoint that changes those needs a configuration beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from npresnet.config import ResNetConfig, tiered_width
from npresnet.image import ImageProcessor
from npresnet.labels import CIFAR10_LABELS, imagenet_labels

from .adapt import adapt_input_channels, describe_differences
from .errors import CheckpointError
from .names import STEM, shortcut_type_of, to_canonical

STAGES = "resnet.encoder.stages."
HEAD = "classifier.1.weight"

Shape = tuple[int, ...]


def identify(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str, ResNetConfig]:
    """Recognise the raw arrays of a checkpoint: what :func:`npresnet.checkpoint.read` calls for every file.

    A configuration that comes with the file goes before the one found here; ``naming`` picks
    :func:`default_preprocessing` for a file without any.

    Parameters
    ----------
    arrays : mapping of str to array
        As a file gives them; see :func:`~npresnet.checkpoint.names.to_canonical` for the names understood.

    Returns
    -------
    canonical : dict of str to array
        Under Transformers' names, in PyTorch's form.
    naming : str
        One of :data:`~npresnet.checkpoint.names.NAMINGS`.
    config : ResNetConfig

    Raises
    ------
    CheckpointError
        If the arrays are not those of one complete ResNet.
    """
    canonical, naming = to_canonical(arrays)
    return canonical, naming, infer_config(canonical, naming=naming, shortcut_type=shortcut_type_of(arrays))


def infer_config(
    arrays: Mapping[str, Any], naming: str = "transformers", shortcut_type: str | None = None
) -> ResNetConfig:
    """Find the configuration that canonical arrays belong to, and check every shape against it.

    Parameters
    ----------
    arrays : mapping of str to array
        Canonical names; only the shapes are looked at.
    naming : str
        Where the arrays come from: ``"caffe"`` and ``"keras"`` have the stride on the first 1x1 convolution of a
        bottleneck; Caffe pools its stem without padding, Keras' epsilon is 1.001e-5.
    shortcut_type : str, optional
        By default ``"projection"`` if there are arrays for it, else ``"zero_pad"`` where a shortcut is needed. A plain
        network (``"none"``) has the same arrays.

    Returns
    -------
    ResNetConfig
        1000 labels are named after ImageNet, 10 behind a CIFAR stem after CIFAR-10; without a head ``num_labels`` is 0.

    Raises
    ------
    CheckpointError
        If layers are missing or shapes do not fit each other, with the arrays, the expected and the found shapes.
    """
    shapes: dict[str, Shape] = {name: tuple(np.shape(array)) for name, array in arrays.items()}
    fields = _stages(shapes) | _stem(shapes)
    fields |= _shortcuts(shapes, fields) | _head(shapes, fields) | _origin(naming, fields)
    if shortcut_type is not None:
        fields["shortcut_type"] = shortcut_type
    try:
        # Dilation shows only where a later stage keeps its size: then it has no stride, and no shortcut.
        candidates = [ResNetConfig(**fields, output_stride=stride) for stride in (32, 16, 8)]
    except ValueError as error:
        raise CheckpointError(f"the shapes of the arrays describe an impossible ResNet: {error}") from error
    differences = [describe_differences(expected_shapes(config), shapes) for config in candidates]
    for config, lines in zip(candidates, differences, strict=True):
        if not lines:
            return config
    looks_like = ("depths", "hidden_sizes", "layer_type", "groups", "width_per_group", "stem_type", "shortcut_type")
    raise CheckpointError(
        "the arrays do not fit together: they look like "
        + ", ".join(f"{name}={getattr(candidates[0], name)!r}" for name in looks_like)
        + ", but\n  "
        + "\n  ".join(differences[0])
    )


def expected_shapes(config: ResNetConfig) -> dict[str, Shape]:
    """Names and shapes of all arrays of a network, in the order of its layers."""
    shapes: dict[str, Shape] = {}

    def add(layer: str, out_channels: int, in_channels: int, kernel: int) -> None:
        shapes[f"{layer}.convolution.weight"] = (out_channels, in_channels, kernel, kernel)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{layer}.normalization.{name}"] = (out_channels,)
        shapes[f"{layer}.normalization.num_batches_tracked"] = ()

    if config.stem_type in ("basic", "cifar"):
        add(STEM, config.embedding_size, config.num_channels, 7 if config.stem_type == "basic" else 3)
    else:
        width = config.stem_width
        first = width if config.stem_type == "deep" else tiered_width(width)
        add(f"{STEM}.0", first, config.num_channels, 3)
        add(f"{STEM}.1", width, first, 3)
        add(f"{STEM}.2", config.embedding_size, width, 3)
    before = config.embedding_size
    stages = zip(config.depths, config.hidden_sizes, config.stage_geometry, strict=True)
    for s, (depth, size, geometry) in enumerate(stages):
        for b in range(depth):
            block = f"{STAGES}{s}.layers.{b}"
            has_parameters = config.shortcut_type in ("projection", "avg_down")
            if b == 0 and (before != size or geometry.stride > 1) and has_parameters:
                add(f"{block}.shortcut", size, before, 1)
            if config.layer_type == "basic":
                add(f"{block}.layer.0", size, before, 3)
                add(f"{block}.layer.1", size, size, 3)
            else:
                width = config.bottleneck_width(size)
                add(f"{block}.layer.0", width, before, 1)
                add(f"{block}.layer.1", width, width // config.groups, 3)
                add(f"{block}.layer.2", size, width, 1)
            before = size
    if config.num_labels:
        shapes[HEAD] = (config.num_labels, config.num_features)
        shapes["classifier.1.bias"] = (config.num_labels,)
    return shapes


def with_input_channels(arrays: Mapping[str, np.ndarray], num_channels: int) -> dict[str, np.ndarray]:
    """Canonical arrays with the first convolution fitted to so many channels; see :func:`adapt_input_channels`."""
    first = next(name for name in (f"{STEM}.convolution.weight", f"{STEM}.0.convolution.weight") if name in arrays)
    return {**arrays, first: adapt_input_channels(arrays[first], num_channels)}


def default_preprocessing(naming: str, config: ResNetConfig) -> dict[str, Any]:
    """What checkpoints of this origin expect of their pictures, in the form of a ``preprocessor_config.json``.

    Only a default: timm and torchvision have several recipes under the same names.

    Parameters
    ----------
    naming : str
        One of :data:`~npresnet.checkpoint.names.NAMINGS`.
    config : ResNetConfig
        A CIFAR stem takes pictures of 32x32 whatever the naming; one channel takes grey pictures.
    """
    presets: dict[str, Callable[[], ImageProcessor]] = {
        "torchvision": ImageProcessor.torchvision,
        "timm": ImageProcessor.timm,
        "cifar": ImageProcessor.cifar,
        "caffe": ImageProcessor.caffe,
        "keras": ImageProcessor.caffe,
        "transformers": ImageProcessor.transformers,
    }
    processor = presets["cifar" if config.stem_type == "cifar" else naming]()
    if config.num_channels == 1:
        processor = processor.for_channels(1)
    return processor.to_dict()


def _stages(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Depths, sizes and kind of the residual layers."""
    depths = tuple(_count(shapes, f"{STAGES}{s}.layers.") for s in range(_count(shapes, STAGES)))
    inner = re.compile(re.escape(STAGES) + r"\d+\.layers\.\d+\.layer\.(\d+)\.")
    convolutions = 1 + max((int(m.group(1)) for m in map(inner.match, shapes) if m), default=-1)
    if convolutions not in (2, 3):
        raise CheckpointError(
            f"a residual layer has 2 (basic) or 3 (bottleneck) convolutions, found {convolutions} in {STAGES}*"
        )
    last = [_kernel(shapes, f"{STAGES}{s}.layers.0.layer.{convolutions - 1}") for s in range(len(depths))]
    fields = {"depths": depths, "hidden_sizes": tuple(shape[0] for shape in last)}
    if convolutions == 2:
        return fields | {"layer_type": "basic"}
    middle = [_kernel(shapes, f"{STAGES}{s}.layers.0.layer.1") for s in range(len(depths))]
    groups = max(1, middle[0][0] // middle[0][1])
    pairs = [(size[0] // 4, width[0] // groups) for size, width in zip(last, middle, strict=True)]
    return fields | {"layer_type": "bottleneck", "groups": groups, "width_per_group": _width_per_group(pairs)}


def _width_per_group(pairs: Iterable[tuple[int, int]]) -> int:
    """The least whole number w with ``int(planes * w / 64) == width`` for each (planes, width).

    Without such a number the first pair decides, and the comparison of all shapes tells the rest.
    """
    bounds = [(math.ceil(64 * width / max(1, planes)), 64 * (width + 1) / max(1, planes)) for planes, width in pairs]
    low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
    return low if low < high else bounds[0][0]


def _stem(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    if not any(name.startswith(f"{STEM}.0.") for name in shapes):
        only = _kernel(shapes, STEM)
        stems: dict[Shape, str] = {(7, 7): "basic", (3, 3): "cifar"}
        if only[2:] not in stems:
            raise CheckpointError(
                f"{STEM}.convolution.weight: expected a kernel of 7x7 (ImageNet) or 3x3 (CIFAR), found shape {only}"
            )
        return {"num_channels": only[1], "embedding_size": only[0], "stem_type": stems[only[2:]]}
    first, second, third = (_kernel(shapes, f"{STEM}.{i}") for i in range(3))
    width = second[0]
    stem_type = "deep" if first[0] == width else "deep_tiered"
    if stem_type == "deep_tiered" and first[0] != tiered_width(width):
        raise CheckpointError(
            f"{STEM}.0.convolution.weight: before a second convolution of {width} channels the first of a deep stem "
            f"has {width} or {tiered_width(width)}, found shape {first}"
        )
    return {
        "num_channels": first[1], "embedding_size": third[0], "stem_type": stem_type, "stem_width": width,
    }  # fmt: skip


def _shortcuts(shapes: Mapping[str, Shape], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of shortcut; a projection between equal sizes in the first stage can only be there for a stride."""
    sizes = (fields["embedding_size"], *fields["hidden_sizes"])
    projected = [f"{STAGES}{s}.layers.0.shortcut.convolution.weight" in shapes for s in range(len(sizes) - 1)]
    needed = len(sizes) > 2 or sizes[0] != sizes[1]
    return {
        "shortcut_type": "zero_pad" if needed and not any(projected) else "projection",
        "downsample_in_first_stage": projected[0] and sizes[0] == sizes[1],
    }


def _head(shapes: Mapping[str, Shape], fields: Mapping[str, Any]) -> dict[str, Any]:
    if HEAD not in shapes:
        return {"num_labels": 0}
    num_labels, features = _dimensions(shapes, HEAD, 2)
    names: Iterable[str] | None = None
    if num_labels == 1000:
        names = imagenet_labels()
    elif num_labels == 10 and fields["stem_type"] == "cifar":
        names = CIFAR10_LABELS
    return {
        "num_labels": num_labels,
        "id2label": dict(enumerate(names)) if names else None,
        "global_pool": "catavgmax" if features == 2 * fields["hidden_sizes"][-1] else "avg",
    }


def _origin(naming: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What only the framework says."""
    facts: dict[str, Any] = {}
    if naming in ("caffe", "keras"):
        facts["downsample_in_bottleneck"] = fields["layer_type"] == "bottleneck"
    if naming == "caffe" and fields["stem_type"] != "cifar":
        facts["stem_pool"] = "caffe"
    if naming == "keras":
        facts["batch_norm_eps"] = 1.001e-5
    return facts


def _count(shapes: Mapping[str, Shape], prefix: str) -> int:
    """How many numbered parts follow a prefix; they must be 0, 1, 2, ... without a hole."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    found = sorted({int(m.group(1)) for m in map(pattern.match, shapes) if m})
    if not found:
        raise CheckpointError(f"{prefix}0: missing; expected a ResNet with at least one residual layer in each stage")
    for expected, number in enumerate(found):
        if number != expected:
            raise CheckpointError(f"{prefix}{expected}: missing, but {prefix}{number} is there; found numbers {found}")
    return len(found)


def _kernel(shapes: Mapping[str, Shape], layer: str) -> Shape:
    """The shape (O, I, kh, kw) of a convolution."""
    return _dimensions(shapes, f"{layer}.convolution.weight", 4)


def _dimensions(shapes: Mapping[str, Shape], name: str, count: int) -> Shape:
    """The shape of an array that must exist, have so many dimensions and not be empty."""
    if name not in shapes:
        raise CheckpointError(f"{name}: missing")
    if len(shapes[name]) != count or 0 in shapes[name]:
        raise CheckpointError(f"{name}: expected {count} dimensions of at least 1, found shape {shapes[name]}")
    return shapes[name]
