"""Encoded images in one array: decoded once, by whoever comes first, and checked."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_data import noise

from npresnet.train.data import CompressedDataset, DatasetError, Loader, Subset
from npresnet.train.data import compressed as module


def encode(images: list[np.ndarray], kinds: str = "PNG") -> tuple[np.ndarray, np.ndarray]:
    contents = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, kinds)
        contents.append(stream.getvalue())
    return np.frombuffer(b"".join(contents), np.uint8), np.cumsum([0, *map(len, contents)])


def decoded(data: np.ndarray, offsets: np.ndarray, index: int) -> np.ndarray:
    with Image.open(io.BytesIO(data[offsets[index] : offsets[index + 1]].tobytes())) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_images_are_what_pillow_decodes(kind: str) -> None:
    images = [noise(8, 9, 3, seed=n) for n in range(5)] + [noise(8, 9, seed=9)]
    data, offsets = encode(images, kind)
    dataset = CompressedDataset(data, offsets.astype(np.uint32), [0, 1, 2, 0, 1, 2], "abc", "files")
    expected = [decoded(data, offsets, n) for n in range(6)]
    np.testing.assert_array_equal(dataset.image(5), expected[5])
    found = dataset.images(np.array([4, 0, 5]))
    assert found is not None
    np.testing.assert_array_equal(found, np.stack([expected[4], expected[0], expected[5]]))
    np.testing.assert_array_equal(dataset.image(-1), expected[5])
    assert repr(dataset).startswith("<files: 6 images (0.0 MiB encoded) in 3 classes>")


def test_they_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = []
    opened = module.open_image
    monkeypatch.setattr(module, "open_image", lambda content: count.append(1) or opened(content))
    dataset = CompressedDataset(*encode([noise(4, 4, 3, seed=n) for n in range(600)]), np.zeros(600, int))
    threads = [threading.Thread(target=dataset.images, args=(np.arange(3),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dataset.image(7)
    assert 600 <= len(count) <= 601  # the first is looked at to know the size


@pytest.mark.parametrize("reason", ["sizes", "memory"])
def test_otherwise_one_by_one(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [noise(8, 8 + (reason == "sizes" and n == 3), 3, seed=n) for n in range(6)]
    if reason == "memory":
        monkeypatch.setattr(module, "MAX_DECODED", 6 * 8 * 8 * 3 - 1)
    dataset = CompressedDataset(*encode(images), np.zeros(6, int))
    assert dataset.images(np.arange(2)) is None
    with monkeypatch.context() as patch:
        patch.setattr(module, "open_image", None)  # it has been found out, and is not tried again
        assert dataset.images(np.arange(2)) is None
    assert Subset(dataset, [1, 3]).images(np.arange(2)) is None
    for n, image in enumerate(images):
        np.testing.assert_array_equal(dataset.image(n), image)
    loader = Loader(dataset, 6, size=8, mean=(0,) * 3, std=(1 / 255,) * 3)
    (batch,) = loader.epoch(0)
    np.testing.assert_allclose(batch.pixel_values[2], images[2].transpose(2, 0, 1), atol=1e-4)


def test_an_image_that_cannot_be_decoded_is_named() -> None:
    data, offsets = encode([noise(4, 4, 3, seed=n) for n in range(5)])
    data = data.copy()
    data[offsets[3] : offsets[3] + 8] = 0
    dataset = CompressedDataset(data, offsets, np.zeros(5, int), name="photos")
    for read in (lambda: dataset.image(3), lambda: dataset.images(np.arange(2))):
        with pytest.raises(DatasetError, match=r"^image 3 of photos: .* is not a picture"):
            read()
    with pytest.raises(DatasetError, match=r"^image 3 of photos: "):
        next(Loader(dataset, 2, size=4, mean=(0.5,), std=(1,)).epoch(0))
    np.testing.assert_array_equal(dataset.image(2), noise(4, 4, 3, seed=2))
    with pytest.raises(IndexError):
        dataset.image(5)


@pytest.mark.parametrize(
    ("data", "offsets", "labels", "words"),
    [
        (np.zeros((2, 2), np.uint8), [0, 2], [0], r"one row of uint8, found uint8 \(2, 2\)"),
        (np.zeros(4), [0, 2], [0], "one row of uint8, found float64"),
        (np.zeros(4, np.uint8), [0.0, 2.0], [0], r"offsets must be N \+ 1 integers, found float64"),
        (np.zeros(4, np.uint8), [0], [], "offsets must be"),
        (np.zeros(4, np.uint8), [0, 2, 5], [0, 0], "from 0 to at most 4, found 0 to 5: they leave the data"),
        (np.zeros(4, np.uint8), [-1, 2, 3], [0, 0], "found -1 to 3: they leave the data"),
        (np.zeros(4, np.uint8), [0, 3, 2], [0, 0], "image 1 is empty or ends before it begins"),
        (np.zeros(4, np.uint8), [0, 2, 2], [0, 0], "image 1 is empty"),
        (np.zeros(4, np.uint8), [0, 2, 4], [0], "2 images and 1 labels"),
    ],
)
def test_arrays_that_do_not_fit(data: Any, offsets: Any, labels: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        CompressedDataset(data, offsets, labels)
