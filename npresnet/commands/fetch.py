"""``npresnet fetch``: official weights, verified and converted."""

from __future__ import annotations

import argparse
import sys
from typing import Any

EPILOG = """\
examples:
  npresnet fetch --list                             the known weights
  npresnet fetch resnet50                           -> resnet50.npz
  npresnet fetch resnet50.v1 -o weights/r50.npz     torchvision's first weights
  npresnet fetch microsoft/resnet-50 -o r50/        a directory that Transformers reads

An interrupted download is continued when the command is run again.
NPRESNET_MIRROR=URL fetches from another server with the same paths; https_proxy is honoured.
"""


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "fetch",
        help="download official weights, verify and convert them",
        description="Download official weights, verify their SHA-256 and convert them; labels and\n"
        "preprocessing become part of the file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("name", metavar="NAME", nargs="?", help="weights to fetch, such as resnet50")
    what.add_argument("--list", action="store_true", help="list the known weights")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help=".npz, .safetensors, or a directory (default: NAME.npz here)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument("--keep", action="store_true", help="keep the downloaded original beside the result")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch, or list what there is to fetch."""
    if args.list:
        print_list()
        return 0
    from npresnet.fetching import fetch
    from npresnet.manifest import find

    entry = find(args.name)
    if entry.sha256 is None and not args.quiet:
        print(f"note: no SHA-256 is published for {entry.name}; only its architecture can be checked", file=sys.stderr)
    path = fetch(args.name, args.output, keep=args.keep, force=args.force, progress=not args.quiet)
    print(path)
    return 0


def print_list() -> None:
    """Print the manifest as a table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from npresnet.manifest import MANIFEST

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("name", no_wrap=True)
    table.add_column("source", no_wrap=True)
    for heading in ("parameters", "GMACs", "top-1", "top-5", "MiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in MANIFEST.values():
        table.add_row(
            entry.name + ("" if entry.sha256 else " *"),
            entry.source,
            f"{entry.parameters / 1e6:.2f} M",
            f"{entry.gmacs:.2f}",
            "-" if entry.top1 is None else f"{entry.top1:.2f}",
            "-" if entry.top5 is None else f"{entry.top5:.2f}",
            f"{entry.mebibytes:.1f}",
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)  # a pipe has no width
    with console.capture() as text:
        console.print(table)
    print(text.get(), end="")
    print("top-1, top-5: percent of ImageNet-1k's validation set, one crop of 224 x 224, as published")
    print("*: no SHA-256 is published, so only the architecture can be checked")
