"""Batches: the same bits for every number of threads and every start, and errors that name the image."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from npresnet.image import ImageProcessor
from npresnet.train.augment import Compose, Draws, Flip, RandomCrop, image_key
from npresnet.train.data import ArrayDataset, Batch, DatasetError, Loader, Subset

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
AUGMENT = Compose([RandomCrop(8, padding=2), Flip()])
OPTIONS: dict[str, Any] = {"size": 8, "mean": MEAN, "std": STD}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def dataset(count: int = 23, size: int = 8, channels: int = 3) -> ArrayDataset:
    return ArrayDataset(noise(count, size, size, channels), np.arange(count) % 5)


class OneByOne:
    """The same images as another data set's, without a way to ask for several at once."""

    name = "slow"

    def __init__(self, dataset: ArrayDataset) -> None:
        self.dataset, self.labels, self.class_names = dataset, dataset.labels, dataset.class_names

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> np.ndarray:
        time.sleep(0.0005 * (index % 3))  # threads overtake one another
        return self.dataset.image(index)

    def source(self, index: int) -> str:
        return f"photos/{index}.png"


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for x, y in zip(left, right, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_the_numbers_are_those_of_the_image_processor() -> None:
    images = dataset(channels=3)
    (batch,) = Loader(images, 23, **OPTIONS).epoch(0)
    processor = ImageProcessor.cifar(8, image_mean=MEAN, image_std=STD)
    np.testing.assert_array_equal(batch.pixel_values, processor([images.image(i) for i in range(23)]))
    assert batch.pixel_values.dtype == np.float32
    assert batch.pixel_values.flags.c_contiguous
    assert batch.labels.tolist() == (np.arange(23) % 5).tolist()
    assert batch.labels.dtype == batch.indices.dtype == np.int64


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("wanted", [1, 3])
def test_grey_and_colour_are_converted(channels: int, wanted: int) -> None:
    images = dataset(channels=channels)
    for part in (images, OneByOne(images)):
        (batch,) = Loader(part, 23, size=8, mean=MEAN[:wanted], std=STD[:wanted]).epoch(0)
        processor = ImageProcessor.cifar(8, image_mean=MEAN[:wanted], image_std=STD[:wanted], num_channels=wanted)
        np.testing.assert_array_equal(batch.pixel_values, processor([images.image(i) for i in range(23)]))


def test_an_augmented_image_depends_on_seed_epoch_and_number_alone() -> None:
    images = dataset()
    loader = Loader(images, 6, **OPTIONS, augment=AUGMENT, shuffle=True, seed=11)
    processor = ImageProcessor.cifar(8, image_mean=MEAN, image_std=STD)
    for batch in loader.epoch(4):
        for values, index in zip(batch.pixel_values, batch.indices.tolist(), strict=True):
            expected = AUGMENT(images.image(index), Draws(image_key(11, 4, index)))
            np.testing.assert_array_equal(values, processor(expected)[0])


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_same_bits_for_every_number_of_threads(shuffle: bool) -> None:
    options = {**OPTIONS, "augment": AUGMENT, "shuffle": shuffle, "seed": 3}
    images = dataset(75)
    expected = list(Loader(images, 40, **options, workers=0).epoch(2))
    for workers, prefetch in [(1, 1), (2, 1), (3, 2), (7, 5), (None, 2)]:
        for kind in (images, OneByOne(images), Subset(images, np.arange(75))):
            loader = Loader(kind, 40, **options, workers=workers, prefetch=prefetch)
            assert same(list(loader.epoch(2)), expected)


def test_an_epoch_can_be_entered_anywhere() -> None:
    loader = Loader(dataset(), 4, **OPTIONS, augment=AUGMENT, shuffle=True)
    whole = list(loader.epoch(1))
    assert len(whole) == len(loader) == 6
    for start in range(7):
        assert same(list(loader.epoch(1, start)), whole[start:])
    for start in (-1, 7):
        with pytest.raises(ValueError, match="the batches 0 to 5, cannot start at"):
            loader.epoch(1, start)


def test_every_image_comes_once_in_an_order_of_its_own() -> None:
    loader = Loader(dataset(), 5, **OPTIONS, shuffle=True, seed=1)
    orders = [np.concatenate([batch.indices for batch in loader.epoch(e)]).tolist() for e in range(3)]
    assert all(sorted(order) == list(range(23)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert orders[1] == loader.order(1).tolist()
    still = np.concatenate([batch.indices for batch in Loader(dataset(), 5, **OPTIONS).epoch(1)])
    assert still.tolist() == list(range(23))


def test_drop_last() -> None:
    loader = Loader(dataset(), 5, **OPTIONS, drop_last=True)
    assert [len(batch.labels) for batch in loader.epoch(0)] == [5] * 4
    assert len(loader) == 4
    assert [len(batch.labels) for batch in Loader(dataset(), 5, **OPTIONS).epoch(0)] == [5, 5, 5, 5, 3]
    assert len(Loader(dataset(20), 5, **OPTIONS)) == len(Loader(dataset(20), 5, **OPTIONS, drop_last=True)) == 4


def test_batches_stay_as_they_are() -> None:
    loader = Loader(dataset(), 5, **OPTIONS, augment=AUGMENT)
    iterator = loader.epoch(0)
    first = next(iterator)
    copy = first.pixel_values.copy()
    rest = list(iterator)
    assert not any(np.shares_memory(first.pixel_values, batch.pixel_values) for batch in rest)
    np.testing.assert_array_equal(first.pixel_values, copy)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("npresnet-loader")]


def test_the_threads_end_when_the_iterator_is_left() -> None:
    loader = Loader(OneByOne(dataset(60)), 4, **OPTIONS, workers=3)
    for count, _ in enumerate(loader.epoch(0)):
        assert len(threads()) > 0
        if count == 2:
            break
    gc.collect()
    assert threads() == []
    iterator = loader.epoch(0)
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert threads() == []
    assert len(list(loader.epoch(0))) == 15
    assert threads() == []


def test_no_more_is_prepared_than_was_asked_for() -> None:
    seen: list[int] = []

    class Watched(OneByOne):
        def image(self, index: int) -> np.ndarray:
            seen.append(index)
            return self.dataset.image(index)

    iterator = Loader(Watched(dataset(60)), 4, **OPTIONS, workers=1, prefetch=3).epoch(0)
    assert seen == []
    next(iterator)
    time.sleep(0.1)
    assert max(seen) < 16  # the batch in hand, and three more
    iterator.close()  # type: ignore[attr-defined]


class Broken(OneByOne):
    def image(self, index: int) -> np.ndarray:
        if index == 17:
            raise ValueError("it cannot be decoded")
        return self.dataset.image(index)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_image_that_cannot_be_read_is_named_when_its_batch_is_due(workers: int) -> None:
    iterator = Loader(Broken(dataset()), 4, **OPTIONS, workers=workers).epoch(0)
    for _ in range(4):
        next(iterator)
    with pytest.raises(DatasetError, match=r"^image 17 of slow \(photos/17.png\): it cannot be decoded$"):
        next(iterator)
    assert threads() == []


@pytest.mark.parametrize("kind", [lambda d: d, OneByOne])
def test_an_augmentation_that_fails_is_blamed_on_an_image(kind: Any) -> None:
    def fussy(image: np.ndarray, draws: Draws) -> np.ndarray:
        return image[:, : {}["width"]] if image[0, 0, 0] == marked else image

    images = dataset()
    marked = images.image(9)[0, 0, 0]
    first = next(i for i in range(23) if images.image(i)[0, 0, 0] == marked)
    with pytest.raises(DatasetError, match=f"^image {first} of .*: KeyError: 'width'$") as caught:
        list(Loader(kind(images), 23, **OPTIONS, augment=fussy).epoch(0))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("kind", [lambda d: d, OneByOne])
def test_an_augmentation_must_lead_to_the_size(kind: Any) -> None:
    loader = Loader(kind(dataset(size=10)), 4, **OPTIONS, augment=Flip())
    with pytest.raises(
        DatasetError, match=r"image 0 of .* leads to uint8 of shape \(10, 10, 3\), expected .*\(8, 8, 3"
    ):
        next(loader.epoch(0))
    with pytest.raises(DatasetError, match=r"leads to float64 of shape \(8, 8, 3\)"):
        next(Loader(kind(dataset()), 4, **OPTIONS, augment=lambda image, draws: image / 255).epoch(0))


def test_without_augmentation_other_sizes_are_resized_and_cropped() -> None:
    images = [noise(8, 8, 3), noise(20, 12, 3), noise(9, 30, 3)]

    class Mixed(OneByOne):
        def image(self, index: int) -> np.ndarray:
            return images[index]

    (batch,) = Loader(Mixed(dataset(3)), 3, **OPTIONS).epoch(0)
    expected = []
    for image, edge in zip(images, [(8, 8), (8, 13), (26, 8)], strict=True):
        picture = Image.fromarray(image).resize(edge, Image.Resampling.BILINEAR)
        left, top = round((picture.width - 8) / 2), round((picture.height - 8) / 2)
        expected.append(np.asarray(picture.crop((left, top, left + 8, top + 8))))
    processor = ImageProcessor.cifar(8, image_mean=MEAN, image_std=STD)
    np.testing.assert_array_equal(batch.pixel_values, processor(expected))
    whole = ArrayDataset(np.stack([images[1]] * 2), [0, 1])
    (together,) = Loader(whole, 2, **OPTIONS).epoch(0)
    np.testing.assert_array_equal(together.pixel_values, batch.pixel_values[[1, 1]])


@pytest.mark.parametrize(
    "processor",
    [
        ImageProcessor.torchvision(12, 10),
        ImageProcessor.transformers(12),
        ImageProcessor.caffe(12, 10),
        ImageProcessor.torchvision(12, 10).for_channels(1),
        ImageProcessor.cifar(16),
    ],
    ids=["torchvision", "transformers", "caffe", "grey", "cifar"],
)
def test_evaluation_sees_what_predictions_see(processor: ImageProcessor) -> None:
    images = dataset(7, size=16)
    loader = Loader.for_evaluation(images, 3, processor)
    found = np.concatenate([batch.pixel_values for batch in loader.epoch(0)])
    np.testing.assert_array_equal(found, processor([images.image(i) for i in range(7)]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, found 0"),
        ({"batch_size": 24, "drop_last": True}, "the arrays has 23 images, which is no batch of 24"),
        ({"size": (8, 0)}, r"size must be a positive integer or \(height, width\)"),
        ({"mean": (0.5,)}, r"3 values \(for RGB\) or 1 \(for grey\) each, found 1 and 3"),
        ({"mean": (0.5, 0.5), "std": (1, 1)}, "found 2 and 2"),
        ({"std": (1, 0, 1)}, "image_std must not hold zeros"),
        ({"workers": -1}, "workers must be an integer of at least 0"),
        ({"prefetch": 0}, "prefetch must be an integer of at least 1"),
    ],
)
def test_options_are_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Loader(dataset(), **{"batch_size": 4, **OPTIONS, **changes})
