"""The files of MNIST and its relatives: a type, the sizes, then the bytes, often compressed by gzip."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .dataset import ArrayDataset
from .errors import DatasetError

_UBYTE = 8  # the type of the elements
_MAX_BYTES = 2**31
_PREFIXES = {"train": "train", "test": "t10k"}
_NAME = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_NAMES_BY_LABELS = {  # SHA-256 of the labels: the names of the files do not tell which of the relatives they belong to
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": _FASHION,
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9": _FASHION,
}


def read_idx(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    name: str | None = None,
) -> ArrayDataset:
    """Read a file of images and one of labels.

    Parameters
    ----------
    images, labels : path
        Such as ``train-images-idx3-ubyte.gz`` and ``train-labels-idx1-ubyte.gz``, compressed or not.
    class_names : sequence of str, optional
        By default Fashion-MNIST's own if the labels are Fashion-MNIST's, and the numbers of the classes otherwise.
    name : str, optional
        For messages; by default the path of the images.

    Returns
    -------
    ArrayDataset
        Grey images.

    Raises
    ------
    DatasetError
        If a file is cut short, too long, or not of this kind.
    """
    pixels, numbers = _read_array(Path(images), 3), _read_array(Path(labels), 1)
    if class_names is None:
        class_names = _NAMES_BY_LABELS.get(hashlib.sha256(numbers.tobytes()).hexdigest())
    return ArrayDataset(pixels, numbers, class_names, str(images) if name is None else name)


def find_idx(path: Path, split: str) -> tuple[Path, Path] | None:
    """Return the files of images and labels of a split in a folder, or in its folder ``raw``; None if there are none.

    The path of one of the files stands for its folder. Both spellings are known, ``-idx3-ubyte`` and ``.idx3-ubyte``.
    """
    if path.is_file():
        path = path.parent
    prefix = _PREFIXES.get(split)
    for folder in (path, path / "raw"):
        found = []
        for what in ("images", "labels"):
            stems = (f"{prefix}-{what}{mark}idx{3 if what == 'images' else 1}-ubyte" for mark in "-.")
            found += [p for stem in stems for p in (folder / stem, folder / f"{stem}.gz") if p.is_file()][:1]
        if len(found) == 2:
            return found[0], found[1]
    return None


def is_idx_name(name: str) -> bool:
    """Whether a file is called as those of MNIST are."""
    return _NAME.fullmatch(name) is not None


def _read_array(path: Path, ndim: int) -> np.ndarray:
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    try:
        opened: Any = gzip.open if compressed else open
        with opened(path, "rb") as stream:
            return _parse(stream, path, ndim)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path} is damaged or cut short ({error}); download it again") from error


def _parse(stream: IO[bytes], path: Path, ndim: int) -> np.ndarray:
    header = stream.read(4)
    if len(header) < 4 or header[:2] != b"\0\0":
        raise DatasetError(f"{path} is not an IDX file, as MNIST's are: it begins with {header.hex(' ') or 'nothing'}")
    if header[2] != _UBYTE or header[3] != ndim:
        raise DatasetError(
            f"{path}: expected {ndim} dimension{'s' if ndim > 1 else ''} of bytes (type 8), found {header[3]} of type "
            f"{header[2]}; are images and labels exchanged?"
        )
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DatasetError(f"{path} ends within its header; download it again")
    shape = struct.unpack(f">{ndim}I", sizes)
    expected = math.prod(shape)
    if expected > _MAX_BYTES:
        raise DatasetError(f"{path} claims {expected:,} bytes, shape {shape}; more than {_MAX_BYTES:,} are refused")
    content = stream.read(expected + 1)  # one more shows that the sizes are wrong
    if len(content) != expected:
        found = f"only {len(content):,}" if len(content) < expected else "more"
        raise DatasetError(
            f"{path} should hold {expected:,} bytes, shape {shape}, and holds {found}; download it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
