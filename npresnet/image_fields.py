"""The fields of a ``preprocessor_config.json``: what Transformers leaves unsaid in them, and how they are checked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING = range(6)  # PIL.Image.Resampling

# What Transformers assumes for fields that a preprocessor_config.json leaves out, by kind of image processor.
KIND_DEFAULTS: dict[str, dict[str, Any]] = {
    "ConvNext": {"size": 384, "crop_pct": 224 / 256, "resample": BICUBIC, "image_mean": 0.5, "image_std": 0.5},
    "ViT": {
        "size": (224, 224), "crop_pct": None, "resample": BILINEAR, "image_mean": 0.5, "image_std": 0.5,
    },
    "Bit": {
        "size": 224, "crop_pct": None, "resample": BICUBIC, "do_center_crop": True, "crop_size": 224,
        "image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711),
    },
}  # fmt: skip
KIND_SUFFIXES = ("ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor")

# Entries of a preprocessor_config.json that do not change the pixels here: pictures are always read as RGB, and the
# result is always (N, C, H, W).
FOREIGN_KEYS = frozenset(
    {"image_processor_type", "feature_extractor_type", "processor_class", "_processor_class", "_valid_processor_keys"}
    | {"_valid_kwargs_names", "do_convert_rgb", "data_format", "input_data_format", "device", "return_tensors"}
    | {"disable_grouping", "default_to_square", "image_seq_length", "pad_size"}
)


def kind_of(values: Mapping[str, Any]) -> str:
    """Return the kind of image processor, a key of :data:`KIND_DEFAULTS`, that a configuration names."""
    name = values.get("image_processor_type") or values.get("feature_extractor_type") or "ConvNextImageProcessor"
    for kind in KIND_DEFAULTS:
        if name in [kind + suffix for suffix in KIND_SUFFIXES]:
            return kind
    known = ", ".join(kind + "ImageProcessor" for kind in KIND_DEFAULTS)
    raise ValueError(f"the image processor {name!r} is not supported, expected one of {known}")


def check_size(name: str, value: Any, square: bool) -> dict[str, int]:
    """Return a size as a dictionary; a single integer is the shorter edge, or a square's."""
    if isinstance(value, numbers.Integral):
        value = {"height": value, "width": value} if square else {"shortest_edge": value}
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    expected = [{"height", "width"}] if square else [{"height", "width"}, {"shortest_edge"}]
    entries = {k: v for k, v in value.items() if v is not None} if isinstance(value, Mapping) else {}
    if set(entries) not in expected:
        forms = " or ".join(str(dict.fromkeys(sorted(keys), "n")) for keys in expected)
        raise ValueError(f"{name} must be {forms}, found {value!r}")
    for length in entries.values():
        if isinstance(length, bool) or not isinstance(length, numbers.Integral) or not 1 <= int(length) <= 10_000:
            raise ValueError(f"{name} must hold integers from 1 to 10000, found {value!r}")
    return {key: int(length) for key, length in sorted(entries.items())}


def check_number(name: str, value: Any) -> float:
    """Return a finite real number as a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, found {value!r}")
    return float(value)


def check_channel_values(name: str, value: Any, num_channels: int) -> tuple[float, ...]:
    """Return one number for each channel; a single number stands for all of them."""
    values = (value,) * num_channels if isinstance(value, numbers.Real) else value
    if not isinstance(values, (list, tuple)) or len(values) != num_channels:
        raise ValueError(f"{name} must hold {num_channels} numbers, one for each channel, found {value!r}")
    return tuple(check_number(name, v) for v in values)
