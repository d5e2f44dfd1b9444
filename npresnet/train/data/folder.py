"""Photographs in a folder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npresnet.picture import ImageError, find_images, open_image

from .dataset import check_labels, describe
from .errors import DatasetError


class FolderDataset:
    """Image files, opened when they are asked for.

    Every file becomes RGB: EXIF orientation is applied, grey is repeated, transparency dropped (see
    :mod:`npresnet.picture`).

    Parameters
    ----------
    files : sequence of path
    labels, class_names, name
        As for :class:`~npresnet.train.data.ArrayDataset`.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[int], class_names: Sequence[str], name: str) -> None:
        self.name = name
        self.files = tuple(files)
        self.labels, self.class_names = check_labels(labels, class_names, len(self.files), name)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return describe(self, "files")

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, 3)."""
        try:
            return np.asarray(open_image(self.files[index]))
        except ImageError as error:
            raise DatasetError(f"image {index} of {self.name}: {error}") from error

    def source(self, index: int) -> str:
        """Return the path of an image."""
        return str(self.files[index])


def read_folder(path: str | os.PathLike[str], class_names: Sequence[str] | None = None) -> FolderDataset:
    """List a tree of images: a folder for each class, and the images at any depth below it.

    Classes and files are in alphabetical order, whatever order the file system keeps them in. Hidden files and folders
    and ``__MACOSX`` are left out, and so is what has no suffix of an image.

    Parameters
    ----------
    path : path
        The folder that holds those of the classes.
    class_names : sequence of str, optional
        The classes in the order of their labels, as for a second folder that goes with a first one and may lack some of
        the classes. By default the names of the folders.

    Raises
    ------
    DatasetError
        If there are no folders, one of them holds no image, or its name is not one of ``class_names``.
    """
    root = Path(path)
    folders = class_folders(root)
    if not folders:
        loose = has_pictures(root)
        reason = "its images lie in no folder" if loose else "it has no folders"
        raise DatasetError(f"{root}: expected a folder for each class, such as {root / 'cat'}, but {reason}")
    if len(folders) == 1 and class_names is None and not has_pictures(folders[0]) and class_folders(folders[0]):
        raise DatasetError(
            f"{root}: its only folder, {folders[0].name!r}, holds no images itself but more folders; if those are the "
            f"classes, give {folders[0]}"
        )
    names = [folder.name for folder in folders] if class_names is None else list(class_names)
    unknown = [folder.name for folder in folders if folder.name not in names]
    if unknown:
        raise DatasetError(
            f"{root}: the folder {unknown[0]!r} is none of the {len(names)} classes, which are {_some(names)}"
        )
    files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        try:
            found = find_images(folder)
        except ImageError as error:
            raise DatasetError(
                f"the class {folder.name!r} has no images: {error}; remove or fill the folder"
            ) from error
        files += found
        labels += [names.index(folder.name)] * len(found)
    return FolderDataset(files, labels, names, str(root))


def class_folders(root: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted by name."""
    try:
        entries = [entry for entry in root.iterdir() if entry.is_dir()]
    except OSError as error:
        raise DatasetError(f"{root}: cannot read the folder: {error.strerror}") from error
    return sorted((e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"), key=lambda e: e.name)


def has_pictures(root: Path) -> bool:
    """Whether a folder holds image files itself, not only below it."""
    from npresnet.picture import IMAGE_SUFFIXES

    return any(
        entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        for entry in root.iterdir()
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
