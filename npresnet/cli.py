"""The ``npresnet`` command.

Each subcommand is a module in :mod:`npresnet.commands` with ``add_parser(subparsers)`` and ``run(args) -> int``; what
it needs is imported when it runs, so that ``npresnet --help`` is instant.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from npresnet import __version__

COMMANDS = ("predict", "train", "evaluate", "convert", "fetch", "summary", "coursework", "grade", "bench")

DESCRIPTION = "ResNet in pure Python: classify pictures, train networks, convert and fetch checkpoints."
EPILOG = """\
examples:
  npresnet predict photo.jpg                        what is in the picture?
  npresnet fetch resnet50 -o weights/r50.npz        official weights, verified and converted
  npresnet predict photos/ --weights weights/r50.npz --csv labels.csv
  npresnet train cifar10 --data cifar-10-python.tar.gz -o runs/first
  npresnet evaluate runs/first                      top-1, confusion, calibration
  npresnet convert resnet50.pth r50.safetensors     no PyTorch needed
  npresnet summary resnet50                         shapes, parameters, multiply-adds
  npresnet coursework new ps1                       stubs, tests and autograders for students
  npresnet grade resnet_layers.py                   marks, with an explanation of every mistake
  npresnet bench                                    how fast, compared with PyTorch and ONNX Runtime?

exit status: 0 success, 1 something failed, 2 wrong usage, 130 interrupted
Set NPRESNET_DEBUG=1 to see where an error comes from.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        0 success, 1 an error (one line on stderr says which), 2 wrong usage, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name that the terminal cannot show must not end the run
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            args = build_parser().parse_args(argv)
            status: int = args.run(args)
            sys.stdout.flush()
            return status
    except SystemExit as stop:  # argparse, after --help or a usage error
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        print("npresnet: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        return 141
    except (ValueError, OSError, ImportError, MemoryError) as error:
        if os.environ.get("NPRESNET_DEBUG"):
            raise
        print(f"npresnet: {describe(error)}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="npresnet",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"npresnet {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"npresnet.commands.{name}").add_parser(subparsers)
    return parser


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves room for the longest command; argparse forgets that commands are indented further than options."""

    def add_argument(self, action: argparse.Action) -> None:
        """Add a row of the help, and measure it."""
        super().add_argument(action)
        self._action_max_length = max(self._action_max_length, 4 + max(map(len, COMMANDS)))


def describe(error: BaseException) -> str:
    """One line for an error: what a user needs, without the type of a Python exception."""
    if isinstance(error, OSError) and error.strerror and type(error).__module__ == "builtins":
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        text = f"not enough memory: {error}" if str(error) else "not enough memory"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"npresnet: warning: {' '.join(str(message).split())}", file=sys.stderr)
