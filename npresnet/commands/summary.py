"""``npresnet summary``: shapes, parameters and multiply-adds of a network."""

from __future__ import annotations

import argparse
import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.commands import positive

if TYPE_CHECKING:
    from npresnet.resnet import ResNetForImageClassification

CHECKPOINT_SUFFIXES = (".npz", ".safetensors", ".pth", ".pt", ".bin", ".th", ".h5", ".json")

EPILOG = """\
examples:
  npresnet summary resnet50
  npresnet summary weights/r50.npz --input-size 288 --depth 3
  npresnet summary resnet50 --depth 4               down to every operation
  npresnet summary resnet50 --json > resnet50.json
"""


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "summary",
        help="shapes, parameters and multiply-adds of a network",
        description="Print the layers of a network with their shapes, parameters and multiply-adds.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="NAME_OR_FILE", help="an architecture such as resnet50, or a checkpoint")
    parser.add_argument(
        "--input-size", type=positive, metavar="N", help="side of the image in pixels (default: as the weights want it)"
    )
    parser.add_argument(
        "--depth",
        type=positive,
        default=2,
        metavar="N",
        help="1: stem, stages and head, 2: residual layers too (default), 3: their convolutions, 4: every operation",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: one object with the totals and the rows")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the summary."""
    model = build(args.model)
    size = None if args.input_size is None else (model.config.num_channels, args.input_size, args.input_size)
    summary = model.summary(input_size=size).unfold(args.depth)
    print(json.dumps(summary.to_dict(), indent=2) if args.json else summary)
    return 0


def build(name: str) -> ResNetForImageClassification:
    """The network in the checkpoint ``name``, or a new one of the architecture ``name``."""
    from npresnet.config import preset
    from npresnet.manifest import MANIFEST
    from npresnet.resnet import ResNetForImageClassification
    from npresnet.zoo import load

    path = Path(name)
    if path.exists():
        return load(path)
    if path.suffix in CHECKPOINT_SUFFIXES:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    try:
        config = MANIFEST[name].config if name in MANIFEST else preset(name)
    except ValueError as error:
        raise ValueError(f"there is no file {name!r}; {error}") from None
    return ResNetForImageClassification(config, _initialize=False)  # shapes are all that matters
