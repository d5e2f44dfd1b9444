"""The names of the parts of a data set: train, val and test, under the spellings that are in use."""

from __future__ import annotations

from collections.abc import Collection

from .errors import DatasetError

UNDIVIDED = "all"
"""The name of the whole, where there are no parts."""

SPLITS = ("train", "val", "test", UNDIVIDED)

_SPELLINGS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "t10k": "test",
    UNDIVIDED: UNDIVIDED,
}  # fmt: skip


def canonical(name: str) -> str | None:
    """Return ``"train"``, ``"val"``, ``"test"`` or ``"all"`` for one of their spellings, None for any other word."""
    return _SPELLINGS.get(name.lower())


def choose(splits: Collection[str], wanted: str, what: str) -> str:
    """Return which of the splits of a data set is meant.

    What is not divided is its own training split, so that it can be trained on. It is not its own test split: a network
    must not be judged, unawares, by the images that it learnt from.

    Raises
    ------
    DatasetError
        If there is no such split.
    """
    name = canonical(wanted)
    if name in splits:
        return str(name)
    if name == "train" and UNDIVIDED in splits:
        return UNDIVIDED
    if UNDIVIDED in splits:
        raise DatasetError(
            f"{what} is not divided and has no split {wanted!r}; ask for {UNDIVIDED!r}, or hold out a part of it"
        )
    raise DatasetError(f"{what} has no split {wanted!r}; it has {', '.join(sorted(splits))}")
