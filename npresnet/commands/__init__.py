"""The subcommands of ``npresnet``, one module each."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """Type of an argument that is an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, found {text!r}")
    return int(text)
