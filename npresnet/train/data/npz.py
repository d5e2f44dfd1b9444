"""Data sets in NumPy's ``.npz``: arrays of images, or of the bytes of image files, with labels; in splits or whole."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npresnet.checkpoint.archive import ZipRecords
from npresnet.checkpoint.errors import CheckpointError, blaming
from npresnet.checkpoint.mapped import map_file

from .compressed import CompressedDataset
from .dataset import ArrayDataset
from .errors import DatasetError
from .splitnames import SPLITS, UNDIVIDED, canonical, choose

_IMAGES, _ENCODED, _LABELS = ("images", "x"), ("jpeg", "png", "encoded"), ("labels", "y")
_CLASS_NAMES = ("class_names", "classes", "label_names")

LAYOUTS = (
    "images + labels or x + y; the same with the name of a split, such as images_train, train_images, x_test; or "
    "jpeg_train + offsets_train + labels_train, where image i is jpeg[offsets[i] : offsets[i + 1]]"
)


@dataclass(frozen=True)
class _Split:
    """The names of the arrays of a split."""

    images: str
    labels: str
    offsets: str | None  # of encoded images


def read_npz(path: str | os.PathLike[str], split: str = "train") -> ArrayDataset | CompressedDataset:
    """Read a data set in one file.

    Parameters
    ----------
    path : path
        An ``.npz`` with images, uint8 (N, H, W, C) or (N, H, W), under ``images_SPLIT``, ``SPLIT_images``,
        ``x_SPLIT`` or ``SPLIT_x``, and their labels under ``labels_...`` or ``y_...``. Without splits it is just
        ``images`` or ``x``, and ``labels`` or ``y``. In place of images there may be ``jpeg_SPLIT`` or ``png_SPLIT``,
        the bytes of all files, with ``offsets_SPLIT``. The names of the classes, if any, are under ``class_names``.
    split : str
        Which; a file without splits has ``"all"``, which is also its ``"train"``.

    Raises
    ------
    DatasetError
        If the file is damaged, holds other arrays, or has no such split. Pickled arrays are never read.
    """
    path = Path(path)
    records = _records(path)
    splits = _find_splits(records.names)
    if not splits:
        held = ", ".join(sorted(_array_names(records))[:12])
        raise DatasetError(f"{path} holds the arrays {held}; expected {LAYOUTS}")
    name = choose(splits, split, str(path))
    arrays = splits[name]
    title = str(path) if name == UNDIVIDED else f"{path} ({name})"
    class_names = next((_read(path, records, key) for key in _CLASS_NAMES if f"{key}.npy" in records), None)
    names = None if class_names is None else [str(n) for n in class_names.ravel()]
    images, labels = _read(path, records, arrays.images), _read(path, records, arrays.labels)
    if arrays.offsets is not None:
        return CompressedDataset(images, _read(path, records, arrays.offsets), labels, names, title)
    return ArrayDataset(images, labels, names, title)


def npz_splits(path: Path) -> tuple[str, ...]:
    """Return the splits in a file."""
    found = _find_splits(_records(path).names)
    return tuple(split for split in SPLITS if split in found)


def _records(path: Path) -> ZipRecords:
    try:
        with blaming(path):
            return ZipRecords(map_file(path))
    except CheckpointError as error:
        raise DatasetError(str(error)) from error


def _array_names(records: ZipRecords) -> set[str]:
    return {name.removesuffix(".npy") for name in records.names}


def _find_splits(names: list[str]) -> Mapping[str, _Split]:
    """Find out which arrays go together, by their names."""
    kinds: dict[str, dict[str, str]] = {}  # split -> what -> array
    for name in sorted(n.removesuffix(".npy") for n in names):
        for what in (*_IMAGES, *_ENCODED, *_LABELS, "offsets"):
            match = re.fullmatch(rf"{what}(?:_(?P<after>[a-z]+))?|(?P<before>[a-z]+)_{what}", name)
            split = canonical(match["after"] or match["before"] or UNDIVIDED) if match else None
            if split is not None:
                kinds.setdefault(split, {})[what] = name
    splits = {}
    for split, arrays in kinds.items():
        labels = next((arrays[what] for what in _LABELS if what in arrays), None)
        images = next((arrays[what] for what in _IMAGES if what in arrays), None)
        encoded = next((arrays[what] for what in _ENCODED if what in arrays), None)
        if labels is not None and images is not None:
            splits[split] = _Split(images, labels, None)
        elif labels is not None and encoded is not None and "offsets" in arrays:
            splits[split] = _Split(encoded, labels, arrays["offsets"])
    return splits


def _read(path: Path, records: ZipRecords, name: str) -> np.ndarray:
    try:
        with blaming(path):
            return np.lib.format.read_array(io.BytesIO(records.read(f"{name}.npy")), allow_pickle=False)
    except CheckpointError as error:
        raise DatasetError(f"{error} (array {name!r}; only plain arrays are read)") from error
