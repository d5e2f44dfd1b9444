"""Images kept as the bytes of their JPEG or PNG files, one after another in a single array."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from npresnet.kernels.parallel import for_each
from npresnet.picture import ImageError, open_image

from .dataset import check_labels, describe
from .errors import DatasetError

MAX_DECODED = 2**30
"""Images of one size that need no more bytes than this (1 GiB) are decoded once and kept."""

_BLOCK = 256  # images decoded by a thread at a time


class CompressedDataset:
    """Encoded images in one array.

    Small images are decoded on all threads when the first of them are asked for together, and kept. If they would need
    more than :data:`MAX_DECODED`, or differ in size, every image is decoded whenever it is asked for.

    Parameters
    ----------
    data : ndarray, uint8, (bytes,)
        The content of all image files (JPEG, PNG or whatever Pillow reads).
    offsets : array of int, (N + 1,)
        Image i is ``data[offsets[i] : offsets[i + 1]]``.
    labels, class_names, name
        As for :class:`~npresnet.train.data.ArrayDataset`.

    Raises
    ------
    DatasetError
        If the arrays do not fit together. An image that cannot be decoded is named when it is asked for.
    """

    def __init__(
        self,
        data: np.ndarray,
        offsets: Any,
        labels: Any,
        class_names: Sequence[str] | None = None,
        name: str = "the encoded images",
    ) -> None:
        self.name = name
        self._data, self._offsets = data, np.asarray(offsets)
        if data.ndim != 1 or data.dtype != np.uint8:
            raise DatasetError(f"{name}: encoded images must be one row of uint8, found {data.dtype} {data.shape}")
        if self._offsets.ndim != 1 or self._offsets.dtype.kind not in "iu" or len(self._offsets) < 2:
            raise DatasetError(
                f"{name}: offsets must be N + 1 integers, found {self._offsets.dtype} {self._offsets.shape}"
            )
        self._offsets = self._offsets.astype(np.int64)
        wrong = np.flatnonzero(np.diff(self._offsets) <= 0)
        if len(wrong) or self._offsets[0] < 0 or self._offsets[-1] > len(data):
            where = f"image {wrong[0]} is empty or ends before it begins" if len(wrong) else "they leave the data"
            raise DatasetError(
                f"{name}: the offsets must rise from 0 to at most {len(data)}, found {self._offsets[0]} to "
                f"{self._offsets[-1]}: {where}"
            )
        self.labels, self.class_names = check_labels(labels, class_names, len(self._offsets) - 1, name)
        self._lock = threading.Lock()
        self._decoded: np.ndarray | None = None  # (N, H, W, 3)
        self._one_by_one = False

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return describe(self, f"{len(self._data) / 2**20:.1f} MiB encoded")

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, 3)."""
        return self._decode(index) if self._decoded is None else self._decoded[index]

    def images(self, indices: np.ndarray) -> np.ndarray | None:
        """Return several images, uint8 (n, H, W, 3), or None if they are not kept in memory."""
        with self._lock:  # the first to come decodes, the others wait for it
            if self._decoded is None and not self._one_by_one:
                self._decoded = self._decode_all()
                self._one_by_one = self._decoded is None
        return None if self._decoded is None else self._decoded[indices]

    def _decode(self, index: int) -> np.ndarray:
        index = range(len(self))[index]  # as a list counts: from the end if negative
        content = self._data[self._offsets[index] : self._offsets[index + 1]].tobytes()
        try:
            return np.asarray(open_image(content))
        except ImageError as error:
            raise DatasetError(f"image {index} of {self.name}: {error}") from error

    def _decode_all(self) -> np.ndarray | None:
        shape = self._decode(0).shape
        if len(self) * shape[0] * shape[1] * shape[2] > MAX_DECODED:
            return None
        decoded = np.empty((len(self), *shape), np.uint8)
        same_size = True

        def decode_block(block: int) -> None:
            nonlocal same_size
            for index in range(block * _BLOCK, min((block + 1) * _BLOCK, len(self))):
                if not same_size:
                    return
                image = self._decode(index)
                if image.shape != shape:
                    same_size = False
                    return
                decoded[index] = image

        for_each(decode_block, -(-len(self) // _BLOCK))
        return decoded if same_size else None
