"""From a data set to batches for a network: shuffled, augmented, normalised, ahead of time and in threads.

Which images make a batch depends on (seed, epoch) alone, and what happens to an image on (seed, epoch, its number)
alone. So the batches are the same to the last bit for every number of threads, and an epoch can be entered anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from npresnet.image import ImageProcessor
from npresnet.kernels.parallel import num_threads

from ..augment.base import Augmentation, augment_batch
from ..augment.draws import BatchDraws, image_keys, shuffled
from ..augment.options import check_count, check_size
from ..augment.preprocess import Preprocess
from .channels import to_channels
from .dataset import Dataset, gather, source
from .errors import DatasetError

_PIECE = 16  # images; a thread is not sent for less


class Batch(NamedTuple):
    """What a network is trained on at a time.

    Attributes
    ----------
    pixel_values : ndarray, float32, (N, C, H, W)
        C-contiguous; it belongs to the receiver.
    labels : ndarray, int64, (N,)
    indices : ndarray, int64, (N,)
        The numbers of the images in the data set.
    """

    pixel_values: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


class Loader:
    """The batches of a data set.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    size : int or (int, int)
        Height and width of the network's input.
    mean, std : sequence of float
        What the pixels, divided by 255, are normalised with in each channel. Their number is that of the network's
        channels, 3 or 1; images are converted to it before they are augmented.
    augment : Augmentation, optional
        What happens to every image first. It must lead to ``size``. Without it, an image that has another size is
        resized, the shorter edge to ``size``, and cropped around its centre.
    shuffle : bool
        Another order in every epoch.
    seed : int
        Of the order and of the augmentation.
    drop_last : bool
        Leave out the last batch if it is smaller than the others.
    workers : int, optional
        Threads that prepare batches. The default is :func:`~npresnet.kernels.parallel.num_threads`; with 0 everything
        happens in the caller's thread, when a batch is asked for.
    prefetch : int
        How many batches are prepared ahead.

    Raises
    ------
    ValueError
        If an option is out of range, or there would be no batch at all.

    Examples
    --------
    >>> loader = Loader(dataset, 128, size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), shuffle=True, seed=0)
    >>> for batch in loader.epoch(0):
    ...     model(batch.pixel_values, batch.labels)
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        size: int | tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        workers: int | None = None,
        prefetch: int = 2,
    ) -> None:
        self.dataset = dataset
        self.batch_size = check_count("batch_size", batch_size, 1)
        self.size = check_size("size", size)
        self.augment = augment
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.workers = num_threads() if workers is None else check_count("workers", workers, 0)
        self.prefetch = check_count("prefetch", prefetch, 1)
        if len(mean) not in (1, 3) or len(mean) != len(std):
            raise ValueError(
                f"mean and std must have 3 values (for RGB) or 1 (for grey) each, found {len(mean)} and {len(std)}"
            )
        self.channels = len(mean)
        height, width = self.size
        # Resizes images that no augmentation brings to the right size; its arithmetic is that of every prediction.
        self._processor = ImageProcessor.torchvision(
            min(height, width),
            crop_size={"height": height, "width": width},
            image_mean=tuple(mean),
            image_std=tuple(std),
            num_channels=self.channels,
        )
        self._normalise = _Normalisation(self._processor)
        if len(self) == 0:
            raise ValueError(
                f"{dataset.name} has {len(dataset)} images, which is no batch of {batch_size}, and drop_last leaves "
                "out what is not; choose a smaller batch_size"
            )

    @classmethod
    def for_evaluation(
        cls,
        dataset: Dataset,
        batch_size: int,
        processor: ImageProcessor,
        *,
        workers: int | None = None,
        prefetch: int = 2,
    ) -> Loader:
        """Return the batches that a checkpoint's own preprocessing makes of a data set, each image once and in order.

        Parameters
        ----------
        dataset, batch_size, workers, prefetch
            As above.
        processor : ImageProcessor
            Usually ``model.processor``. Every value of ``pixel_values`` is the one that it would return.
        """
        height, width, _ = processor.pixels(dataset.image(0)).shape
        loader = cls(
            dataset,
            batch_size,
            size=(height, width),
            mean=processor.image_mean,
            std=processor.image_std,
            augment=Preprocess(processor),
            workers=workers,
            prefetch=prefetch,
        )
        loader._normalise = _Normalisation(processor)
        return loader

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def order(self, number: int) -> np.ndarray:
        """Return the numbers of the images in the order of an epoch, int64 (N,)."""
        count = len(self.dataset)
        return shuffled(self.seed, number, count) if self.shuffle else np.arange(count)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch.

        Parameters
        ----------
        number : int
            Which epoch, counted from 0.
        start : int
            How many batches to leave out, as when training goes on in the middle of an epoch; the others are the same.

        Yields
        ------
        Batch

        Raises
        ------
        DatasetError
            If an image cannot be read or augmented; the message names it. It is raised when its batch is due.

        Notes
        -----
        Leaving the iterator early (``break``, an exception, ``close()``) stops its threads.
        """
        if not 0 <= start <= len(self):
            raise ValueError(f"an epoch has the batches 0 to {len(self) - 1}, cannot start at {start}")
        order = self.order(number)
        batches = (order[b * self.batch_size : (b + 1) * self.batch_size] for b in range(start, len(self)))
        return self._prepare_here(batches, number) if self.workers == 0 else self._prepare_ahead(batches, number)

    def _prepare_here(self, batches: Iterator[np.ndarray], epoch: int) -> Iterator[Batch]:
        for indices in batches:
            batch = self._empty_batch(indices)
            self._fill(batch, slice(None), epoch)
            yield batch

    def _prepare_ahead(self, batches: Iterator[np.ndarray], epoch: int) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.workers, "npresnet-loader")
        waiting: deque[tuple[Batch, list[Future[None]]]] = deque()

        def send() -> None:
            indices = next(batches, None)
            if indices is not None:
                batch = self._empty_batch(indices)
                waiting.append((batch, [pool.submit(self._fill, batch, part, epoch) for part in self._parts(batch)]))

        try:
            for _ in range(self.prefetch):
                send()
            while waiting:
                batch, parts = waiting.popleft()
                for part in parts:
                    part.result()
                send()
                yield batch
                del batch, parts  # or they would live on while the next ones are waited for
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _parts(self, batch: Batch) -> list[slice]:
        count = len(batch.labels)
        step = max(_PIECE, -(-count // self.workers))
        return [slice(first, first + step) for first in range(0, count, step)]

    def _empty_batch(self, indices: np.ndarray) -> Batch:
        pixel_values = np.empty((len(indices), self.channels, *self.size), np.float32)
        return Batch(pixel_values, self.dataset.labels[indices], indices)

    def _fill(self, batch: Batch, part: slice, epoch: int) -> None:
        """Prepare some of the images of a batch."""
        out, indices = batch.pixel_values[part], batch.indices[part]
        draws = BatchDraws(image_keys(self.seed, epoch, indices))
        images = gather(self.dataset, indices)  # (n, H, W, C)
        if images is not None:
            try:
                self._normalise(self._augment_all(images, draws), out)
                return
            except Exception:  # something is wrong with an image: find out with which, and say so
                self._one_by_one(indices, draws, out)
                raise
        self._one_by_one(indices, draws, out)

    def _augment_all(self, images: np.ndarray, draws: BatchDraws) -> np.ndarray:
        images = to_channels(images, self.channels)
        if self.augment is not None:
            images = augment_batch(self.augment, images, draws)
        elif images.shape[1:3] != self.size:
            images = np.stack([self._processor.pixels(image) for image in images])
        self._check(images.shape[1:], images.dtype)
        return images

    def _one_by_one(self, indices: np.ndarray, draws: BatchDraws, out: np.ndarray) -> None:
        for n, index in enumerate(indices.tolist()):
            with _blaming(self.dataset, index):
                image = self.dataset.image(index)
            with _blaming(self.dataset, index):
                image = to_channels(image, self.channels)
                if self.augment is not None:
                    image = self.augment(image, draws[n])
                elif image.shape[:2] != self.size:
                    image = self._processor.pixels(image)
                self._check(image.shape, image.dtype)
            self._normalise(image[None], out[n : n + 1])

    def _check(self, shape: tuple[int, ...], dtype: Any) -> None:
        expected = (*self.size, self.channels)
        if shape != expected or dtype != np.uint8:
            raise DatasetError(
                f"the augmentation leads to {dtype} of shape {shape}, expected uint8 of shape {expected}; end it with "
                "a step that fixes the size, such as random_resized_crop, random_crop or center_crop"
            )


class _Normalisation:
    """From pixels, uint8 (n, H, W, C), to the numbers that an image processor makes of them, float32 (n, C, H, W)."""

    def __init__(self, processor: ImageProcessor) -> None:
        pixels_only = processor.replace(do_resize=False, crop_pct=None, do_center_crop=False, crop_size=None)
        self._table = pixels_only(np.arange(256, dtype=np.uint8)[None])[0, :, 0]  # (C, 256): what becomes of 0 ... 255
        planes = range(processor.num_channels)
        self._planes = list(reversed(planes) if processor.channel_order == "bgr" else planes)

    def __call__(self, images: np.ndarray, out: np.ndarray) -> None:
        for image, values in zip(images, out, strict=True):
            for c, plane in enumerate(self._planes):
                np.take(self._table[c], image[:, :, plane], out=values[c], mode="clip")  # no buffer, unlike "raise"


@contextmanager
def _blaming(dataset: Dataset, index: int) -> Iterator[None]:
    """Raise every error as a :class:`DatasetError` that names the image."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, DatasetError) and str(error).startswith("image "):  # the data set has named it
            raise
        file = source(dataset, index)
        name = f"image {index} of {dataset.name}" + ("" if file is None or file in str(error) else f" ({file})")
        reason = str(error) if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {error}"
        raise DatasetError(f"{name}: {reason}") from error
