"""``npresnet convert``: from any checkpoint to one that holds everything."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PRESETS = ("torchvision", "timm", "transformers", "caffe", "cifar")

EPILOG = """\
examples:
  npresnet convert resnet50-11ad3fa6.pth r50.npz --preprocessing torchvision
  npresnet convert r50.npz r50-half.safetensors --dtype float16
  npresnet convert r50.npz r50-hf/                              a directory that Transformers reads
  npresnet convert r50.npz dense.npz --set output_stride=8      change the configuration

--set takes fields of the configuration; the value is JSON or a plain word.
A PyTorch file says nothing about preprocessing: without --preprocessing it gets the usual one
of the framework that named its arrays.
"""


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "convert",
        help="convert a checkpoint, without PyTorch",
        description="Convert a checkpoint (.npz, .safetensors, .pth, .bin, .th, .h5, or a directory of\n"
        "Transformers) to .npz, .safetensors or a directory in the layout of Transformers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", help="checkpoint to read")
    parser.add_argument("target", metavar="DST", help=".npz, .safetensors, or a directory")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="type of the arrays written")
    parser.add_argument(
        "--set", metavar="FIELD=VALUE", action="append", default=[], dest="overrides",
        help="change a field of the configuration (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--preprocessing", metavar="NAME", help=f"one of {', '.join(PRESETS)}, or a preprocessor_config.json"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was found and written."""
    from npresnet.convert import convert

    preprocessing = None if args.preprocessing is None else read_preprocessing(args.preprocessing)
    done = convert(
        args.source,
        args.target,
        dtype=args.dtype,
        preprocessing=preprocessing,
        force=args.force,
        **parse_overrides(args.overrides),
    )
    config, labels = done.config, list(done.config.id2label.values())
    print(f"{args.source} -> {done.target}")
    print(f"  architecture   {name_of(config)}, {done.parameters:,} parameters")
    print(f"  names          {done.naming}")
    print(f"  labels         {len(labels)}" + (f" ({', '.join(labels[:3])}, ...)" if labels else " (no classifier)"))
    print(f"  preprocessing  {describe_preprocessing(done.preprocessing)}")
    print(f"  size           {size_on_disk(done.target) / 2**20:.1f} MiB, {args.dtype}")
    return 0


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """Turn ``["output_stride=8", "hidden_act=relu"]`` into keyword arguments."""
    overrides: dict[str, Any] = {}
    for pair in pairs:
        field, equals, text = pair.partition("=")
        if not equals or not field.isidentifier():
            raise ValueError(f"--set takes FIELD=VALUE, such as output_stride=8, found {pair!r}")
        try:
            overrides[field] = json.loads(text)
        except json.JSONDecodeError:
            overrides[field] = {"True": True, "False": False, "None": None}.get(text, text)
    return overrides


def read_preprocessing(name: str) -> dict[str, Any]:
    """The preprocessing called ``name``, or the one in the JSON file ``name``."""
    from npresnet.image import ImageProcessor

    if name in PRESETS:
        values: dict[str, Any] = getattr(ImageProcessor, name)().to_dict()
        return values
    path = Path(name)
    if path.suffix != ".json":
        raise ValueError(f"--preprocessing takes one of {', '.join(PRESETS)} or a .json file, found {name!r}")
    try:
        values = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{name} must hold a JSON object, as a preprocessor_config.json does")
    return ImageProcessor.from_dict(values).to_dict()


def name_of(config: Any) -> str:
    """The preset that a configuration is, or a few words about it."""
    from npresnet.config import PRESETS, preset

    shape = ("layer_type", "depths", "hidden_sizes", "embedding_size", "stem_type", "groups", "width_per_group")
    for name in PRESETS:
        if all(getattr(preset(name), field) == getattr(config, field) for field in (*shape, "shortcut_type")):
            return name
    return f"{config.layer_type} layers, depths {config.depths}, hidden sizes {config.hidden_sizes}"


def describe_preprocessing(values: dict[str, Any]) -> str:
    """The main fields of a ``preprocessor_config.json`` on one line."""
    filters = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
    parts = [" ".join(f"{key} {length}" for key, length in values["size"].items()), filters[values["resample"]]]
    if values.get("crop_pct") is not None:
        parts.append(f"crop_pct {values['crop_pct']:g}")
    if values.get("crop_size"):
        parts.append(f"crop {values['crop_size']['height']} x {values['crop_size']['width']}")
    return ", ".join(parts)


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of the files in a directory."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return path.stat().st_size
