"""Who takes part, and why somebody does not."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

from npresnet.config import EXTRA_FIELDS, ResNetConfig

PRECISIONS = ("float32", "bfloat16", "int8")

PEERS = {
    "torch": ("torch", "transformers"),
    "onnxruntime": ("onnxruntime", "onnx"),
}
"""Peers, and the packages that each of them needs."""

SEVERAL = {"torch": ("eager", "channels-last")}
"""Peers that run a model in several ways."""


class Contestant(NamedTuple):
    """One line of the table: an engine, the numbers it computes with, and the way it is used if there are several."""

    engine: str  # npresnet, torch, onnxruntime
    precision: str
    way: str = ""

    @property
    def name(self) -> str:
        """``npresnet int8``, ``torch channels-last``."""
        return f"{self.engine} {self.way or self.precision}"


BASELINE = Contestant("npresnet", "float32")
"""The contestant to which ratios refer."""


def missing_packages(peer: str) -> list[str]:
    """Packages that a peer needs and that are not installed."""
    return [package for package in PEERS[peer] if importlib.util.find_spec(package) is None]


def choose_peers(wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return the installed ones of the peers that were asked for, and a note for each other one.

    Parameters
    ----------
    wanted : sequence of str or None
        Keys of :data:`PEERS`; None is all of them.
    """
    peers, notes = [], []
    for peer in PEERS if wanted is None else wanted:
        missing = missing_packages(peer)
        if missing:
            notes.append(f"{missing[0]} is not installed: pip install {' '.join(PEERS[peer])}")
        else:
            peers.append(peer)
    return peers, notes


def list_contestants(
    config: ResNetConfig, precisions: Sequence[str], peers: Sequence[str]
) -> tuple[list[Contestant], list[str]]:
    """Return the contestants for a network, npresnet first, and notes about peers that do not have such a network."""
    contestants = [Contestant("npresnet", precision) for precision in precisions]
    notes = []
    for peer in peers:
        if peer == "torch" and (fields := foreign_fields(config)):
            notes.append(f"torch is left out: the ResNet of Transformers has no {', '.join(fields)}")
            continue
        contestants += [Contestant(peer, "float32", way) for way in SEVERAL.get(peer, ("",))]
        if peer == "onnxruntime" and "int8" in precisions:
            contestants.append(Contestant(peer, "int8"))
    return contestants, notes


def foreign_fields(config: ResNetConfig) -> list[str]:
    """What a configuration asks for and Transformers' ``ResNetConfig`` does not know, as ``stem_type='deep'``."""
    return [f"{name}={value!r}" for name, value in config.to_dict().items() if name in EXTRA_FIELDS]
