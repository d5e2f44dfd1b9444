"""Say honestly what judged processes are kept from on this machine."""

from __future__ import annotations

import functools

from .layers import LAYERS
from .runner import locks_here

STRONG = (
    "Landlock and seccomp: submissions run without network, without other processes, and see no files but Python's and "
    "their own temporary folder; memory, time and output are limited."
)
PARTLY = (
    "Only {there} of Landlock and seccomp: {missing} is left to an audit hook, which a determined student gets around. "
    "For submissions that you do not trust, grade in a container without network."
)
WEAK = (
    "An audit hook and limits only, since this system has neither Landlock nor seccomp: they stop accidents, and a "
    "determined student gets around them. For submissions that you do not trust, grade in a container without network."
)


@functools.cache
def isolation(layers: tuple[str, ...] = LAYERS) -> str:
    """What keeps submissions in on this machine, and what does not; found out by starting a judged process.

    Parameters
    ----------
    layers : tuple of str
        As for :func:`.run_part`.
    """
    locks = locks_here(layers)
    if "landlock" in locks and "seccomp" in locks:
        return STRONG
    if "landlock" in locks:
        return PARTLY.format(there="Landlock", missing="the network and other processes")
    if "seccomp" in locks:
        return PARTLY.format(there="seccomp", missing="the secrecy of files")
    return WEAK
