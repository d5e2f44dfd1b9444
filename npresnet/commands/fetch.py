"""``npresnet fetch``: official weights, verified and converted; published data sets, verified."""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

EPILOG = """\
examples:
  npresnet fetch --list                             the known weights and data sets
  npresnet fetch resnet50                           -> resnet50.npz
  npresnet fetch resnet50.v1 -o weights/r50.npz     torchvision's first weights
  npresnet fetch microsoft/resnet-50 -o r50/        a directory that Transformers reads
  npresnet fetch cifar10                            a data set -> cifar10/

An interrupted download is continued when the command is run again.
NPRESNET_MIRROR=URL fetches from another server with the same paths; https_proxy is honoured.
"""


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "fetch",
        help="download official weights and convert them, or a data set",
        description="Download official weights, verify their SHA-256 and convert them; labels and\n"
        "preprocessing become part of the file. Or download a data set and verify it; it stays\n"
        "as it was published.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("name", metavar="NAME", nargs="?", help="what to fetch, such as resnet50 or cifar10")
    what.add_argument("--list", action="store_true", help="list the known weights and data sets")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="of weights: .npz, .safetensors, or a directory (default: NAME.npz here); of data: a directory "
        "(default: NAME here)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument("--keep", action="store_true", help="keep the downloaded original of weights beside the result")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch, or list what there is to fetch."""
    if args.list:
        print_list()
        return 0
    from npresnet.train.data.published import find_published

    path = fetch_data(args) if find_published(args.name) else fetch_weights(args)
    print(path)
    return 0


def fetch_weights(args: argparse.Namespace) -> Any:
    """Download and convert weights; returns where they are."""
    from npresnet.fetching import fetch
    from npresnet.manifest import find
    from npresnet.train.data.published import PUBLISHED

    try:
        entry = find(args.name)
    except ValueError as error:
        near = difflib.get_close_matches(args.name.lower(), PUBLISHED, n=1, cutoff=0.7)
        raise ValueError(f"{error}. Did you mean the data set {near[0]}?" if near else str(error)) from None
    if entry.sha256 is None and not args.quiet:
        print(f"note: no SHA-256 is published for {entry.name}; only its architecture can be checked", file=sys.stderr)
    return fetch(args.name, args.output, keep=args.keep, force=args.force, progress=not args.quiet)


def fetch_data(args: argparse.Namespace) -> Any:
    """Download a data set; returns the directory."""
    from npresnet.train.data.fetching import fetch_dataset

    if args.keep:
        raise ValueError(
            f"--keep belongs to weights, which are converted; {args.name} is a data set and stays as it is"
        )
    return fetch_dataset(args.name, args.output, force=args.force, progress=not args.quiet)


def print_list() -> None:
    """Print both manifests as tables."""
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)  # a pipe has no width
    for table, notes in (weights_table(), data_table()):
        with console.capture() as text:
            console.print(table)
        print(text.get(), end="")
        for note in notes:
            print(note)


def weights_table() -> tuple[Table, tuple[str, ...]]:
    """The published weights, and what to know of the table."""
    from npresnet.manifest import MANIFEST

    table = new_table(("name", "source"), ("parameters", "GMACs", "top-1", "top-5", "MiB"))
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
    return table, (
        "top-1, top-5: percent of ImageNet-1k's validation set, one crop of 224 x 224, as published",
        "*: no SHA-256 is published, so only the architecture can be checked",
    )


def data_table() -> tuple[Table, tuple[str, ...]]:
    """The published data sets."""
    from npresnet.train.data.published import PUBLISHED

    table = new_table(("data set", "images"), ("train", "test", "classes", "MiB"))
    for entry in PUBLISHED.values():
        table.add_row(
            entry.name, entry.shape, str(entry.train), str(entry.test), str(entry.classes), f"{entry.mebibytes:.1f}"
        )
    return table, ()


def new_table(names: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    """A table with some columns of text and some of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in names:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
