"""What a data set is: numbered images with labels. The simplest one, and a part of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .errors import DatasetError


class Dataset(Protocol):
    """Images with labels, in a fixed order.

    A data set whose images are all of one size and in memory has a method ``images(indices)`` besides, which returns
    several at once, uint8 (n, H, W, C); see :func:`gather`. One that reads files has ``source(index)``, the name of an
    image's file for error messages.

    Attributes
    ----------
    name : str
        For messages.
    labels : ndarray, int64, (N,)
        The class of every image.
    class_names : tuple of str
        The names of the classes 0, 1, ...
    """

    name: str
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, C), with C = 3 (RGB) or 1 (grey). It must not be changed."""
        ...


class ArrayDataset:
    """Images of one size in memory.

    Parameters
    ----------
    images : ndarray, uint8, (N, H, W, C) or (N, H, W)
        RGB (C = 3) or grey. Not copied.
    labels : array of int, (N,)
        The class of each image, counted from 0.
    class_names : sequence of str, optional
        By default the numbers of the classes.
    name : str
        For messages.

    Raises
    ------
    DatasetError
        If the arrays do not fit together or do not hold what they should.

    Examples
    --------
    >>> dataset = ArrayDataset(np.zeros((2, 28, 28), np.uint8), [0, 1], ["cat", "dog"])
    >>> dataset.image(1).shape, dataset.class_names[dataset.labels[1]]
    ((28, 28, 1), 'dog')
    """

    def __init__(
        self, images: Any, labels: Any, class_names: Sequence[str] | None = None, name: str = "the arrays"
    ) -> None:
        self.name = name
        self._images = check_images(images, name)
        self.labels, self.class_names = check_labels(labels, class_names, len(self._images), name)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return describe(self, f"{' x '.join(map(str, self._images.shape[1:]))}")

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, C), a view."""
        view: np.ndarray = self._images[index]
        return view

    def images(self, indices: np.ndarray) -> np.ndarray:
        """Return several images, uint8 (n, H, W, C)."""
        chosen: np.ndarray = self._images[indices]
        return chosen


class Subset:
    """Some images of a data set, in an order of their own; the classes stay the same.

    Parameters
    ----------
    dataset : Dataset
    indices : array of int, (N,)
        Which images.
    name : str, optional
        For messages; by default the data set's.
    """

    def __init__(self, dataset: Dataset, indices: Any, name: str | None = None) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices)
        self.name = dataset.name if name is None else name
        if self.indices.ndim != 1 or len(self.indices) == 0 or self.indices.dtype.kind not in "iu":
            raise DatasetError(
                f"a part of {dataset.name} needs a list of at least one image number, found an array of shape "
                f"{self.indices.shape} and dtype {self.indices.dtype}"
            )
        self.indices = self.indices.astype(np.int64)
        if self.indices.min() < 0 or self.indices.max() >= len(dataset):
            raise DatasetError(
                f"{dataset.name} has the images 0 to {len(dataset) - 1}; found {self.indices.min()} to "
                f"{self.indices.max()}"
            )
        self.labels = dataset.labels[self.indices]
        self.class_names = dataset.class_names

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return describe(self, f"part of {self.dataset!r}")

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, C)."""
        return self.dataset.image(int(self.indices[index]))

    def images(self, indices: np.ndarray) -> np.ndarray | None:
        """Return several images, uint8 (n, H, W, C), or None if the whole data set cannot."""
        return gather(self.dataset, self.indices[indices])

    def source(self, index: int) -> str | None:
        """Return the name of the image's file, if it has one."""
        return source(self.dataset, int(self.indices[index]))


def gather(dataset: Dataset, indices: np.ndarray) -> np.ndarray | None:
    """Return several images at once, uint8 (n, H, W, C), or None if they have to be asked for one by one."""
    together = getattr(dataset, "images", None)
    result: np.ndarray | None = None if together is None else together(indices)
    return result


def source(dataset: Dataset, index: int) -> str | None:
    """Return the name of an image's file, or None."""
    of = getattr(dataset, "source", None)
    name: str | None = None if of is None else of(index)
    return name


def describe(dataset: Dataset, content: str) -> str:
    """Return what to print for a data set."""
    images, classes = len(dataset), len(dataset.class_names)
    return f"<{dataset.name}: {images} images ({content}) in {classes} classes>"


def check_images(images: Any, name: str) -> np.ndarray:
    """Return images as (N, H, W, C), or say why they are none."""
    array = np.asarray(images)
    found = f"found shape {array.shape} and dtype {array.dtype}"
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.dtype != np.uint8 or 0 in array.shape:
        hint = (
            "; floats in [0, 1] become pixels by np.rint(255 * x).astype(np.uint8)" if array.dtype.kind == "f" else ""
        )
        raise DatasetError(f"{name}: images must be uint8 of shape (N, H, W, C) or (N, H, W), {found}{hint}")
    if array.shape[3] not in (1, 3):
        hint = "; pass images.transpose(0, 2, 3, 1)" if array.shape[1] in (1, 3) else ""
        raise DatasetError(f"{name}: images must have 3 channels (RGB) or 1 (grey) in the last axis, {found}{hint}")
    return array


def check_labels(
    labels: Any, class_names: Sequence[str] | None, count: int, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels as int64 (count,) and the names of the classes, or say what is wrong with them."""
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DatasetError(
            f"{name}: labels must be integers of shape (N,), found shape {array.shape} and dtype {array.dtype}"
        )
    if len(array) != count:
        raise DatasetError(f"{name}: {count} images and {len(array)} labels; expected one label for each image")
    array = array.astype(np.int64)
    names = tuple(map(str, class_names if class_names is not None else range(max(array.max(), 0) + 1)))
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DatasetError(f"{name}: the class name {twice!r} occurs twice")
    wrong = np.flatnonzero((array < 0) | (array >= len(names)))
    if len(wrong):
        raise DatasetError(
            f"{name}: image {wrong[0]} has the label {array[wrong[0]]}; with {len(names)} classes, labels are 0 to "
            f"{len(names) - 1}"
        )
    return array, names
