"""One door to all kinds of data sets."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .cifar import ARCHIVES, find_cifar, read_cifar
from .dataset import Dataset
from .errors import DatasetError
from .folder import class_folders, has_pictures, read_folder
from .idx import find_idx, is_idx_name, read_idx
from .npz import npz_splits, read_npz
from .published import find_published
from .splitnames import UNDIVIDED, canonical, choose

_KNOWN = (
    f"CIFAR ({', '.join(ARCHIVES[:2])}, or unpacked), MNIST's kind (train-images-idx3-ubyte.gz and its fellows), an "
    ".npz of images and labels, or a folder of images for each class, directly or in train/, val/ and test/"
)


def open_dataset(path: str | os.PathLike[str], split: str = "train") -> Dataset:
    """Open a data set of any kind that is known here.

    Parameters
    ----------
    path : path
        - CIFAR-10 or CIFAR-100: the published archive, what was unpacked from it, or a folder that holds either;
        - MNIST, Fashion-MNIST and others in their format: the folder with the files, compressed or not;
        - an ``.npz`` (see :func:`~npresnet.train.data.read_npz`);
        - a folder with a folder of images for each class, or with folders ``train``, ``val``, ``test`` of those.
    split : str
        ``"train"``, ``"val"`` or ``"test"``. What is not divided has ``"all"``, which is also its ``"train"``.

    Returns
    -------
    Dataset
        All splits have the same classes.

    Raises
    ------
    DatasetError
        If there is nothing at the path, it is of no known kind, damaged, or has no such split.

    Examples
    --------
    >>> open_dataset("cifar-10-python.tar.gz", "test")
    <CIFAR-10 (test): 10000 images (32 x 32 x 3) in 10 classes>
    """
    splits = _find_splits(Path(path))
    return splits[choose(splits, split, str(path))]()


def dataset_splits(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return which splits there are at a path: some of ``"train"``, ``"val"``, ``"test"``, or only ``"all"``.

    Raises
    ------
    DatasetError
        As :func:`open_dataset`.
    """
    return tuple(_find_splits(Path(path)))


_Splits = dict[str, Callable[[], Dataset]]


def _find_splits(path: Path) -> _Splits:
    """Find out of what kind a data set is; returns how to read each of its splits."""
    if not path.exists():
        published = find_published(path.name)
        hint = f"; `npresnet fetch {published.name}` downloads it" if published else ""
        raise DatasetError(f"no such file or folder: {str(path)!r} (from {os.getcwd()}){hint}")
    if find_cifar(path) is not None:
        return {split: partial(read_cifar, path, split) for split in ("train", "test")}
    if path.is_dir() or is_idx_name(path.name):
        pairs = {split: find_idx(path, split) for split in ("train", "test")}
        if any(pairs.values()):
            return {s: partial(read_idx, *pair, name=f"{path} ({s})") for s, pair in pairs.items() if pair is not None}
    if path.is_dir():
        return _folder_splits(path)
    if path.suffix.lower() == ".npz":
        names = npz_splits(path) or (UNDIVIDED,)  # then reading it says what is missing
        return {name: partial(read_npz, path, name) for name in names}
    hint = "unpack it and give the folder; " if path.suffix.lower() in (".zip", ".7z", ".rar") else ""
    raise DatasetError(f"{path} is no data set of a known kind; {hint}expected {_KNOWN}")


def _folder_splits(path: Path) -> _Splits:
    """A folder for each class, or folders called train, val, test that hold such folders and no images themselves."""
    folders = class_folders(path)
    if not folders and not has_pictures(path):
        raise DatasetError(f"{path} is no data set of a known kind; expected {_KNOWN}")
    parts: dict[str, Path] = {}
    for folder in folders:
        split = canonical(folder.name)
        if split in (None, UNDIVIDED) or has_pictures(folder) or not class_folders(folder):
            continue
        if split in parts:
            raise DatasetError(f"{path}: {parts[split].name!r} and {folder.name!r} are two names of one split")
        parts[str(split)] = folder
    if not parts:
        return {UNDIVIDED: partial(read_folder, path)}
    names = [folder.name for folder in class_folders(parts["train"])] if "train" in parts else None
    return {s: partial(read_folder, parts[s], names) for s in ("train", "val", "test") if s in parts}
