"""Data sets in memory, parts of them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from npresnet.train.data import ArrayDataset, DatasetError, Subset
from npresnet.train.data.channels import to_channels


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1), (4, 5, 6, 3)])
def test_arrays(shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    dataset = ArrayDataset(images, [2, 0, 1, 2], name="noise")
    assert len(dataset) == 4
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.labels.dtype == np.int64
    assert dataset.image(3).shape == (5, 6, shape[3] if len(shape) == 4 else 1)
    np.testing.assert_array_equal(dataset.image(3).squeeze(), images[3].squeeze())
    np.testing.assert_array_equal(dataset.images(np.array([3, 0])).squeeze(), images[[3, 0]].squeeze())
    assert repr(dataset).startswith("<noise: 4 images (5 x 6 x ")


def test_labels_in_a_column_and_of_any_integer_type() -> None:
    assert ArrayDataset(noise(3, 2, 2), np.array([[1], [0], [1]], np.uint8), ["a", "b"]).labels.tolist() == [1, 0, 1]


def test_a_part_keeps_the_classes_and_its_own_order() -> None:
    images = noise(6, 2, 2, 3)
    part = Subset(Subset(ArrayDataset(images, [0, 1, 2, 0, 1, 2], "abc"), [5, 4, 3, 0]), np.array([2, 0], np.uint8))
    assert len(part) == 2
    assert part.labels.tolist() == [0, 2]
    assert part.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(part.image(1), images[5])
    found = part.images(np.array([1, 0, 0]))
    assert found is not None
    np.testing.assert_array_equal(found, images[[5, 3, 3]])


@pytest.mark.parametrize(
    ("images", "labels", "names", "words"),
    [
        (noise(2, 3, 8, 8), [0, 1], None, r"in the last axis, found shape \(2, 3, 8, 8\).*transpose\(0, 2, 3, 1\)"),
        (noise(2, 8, 8, 4), [0, 1], None, "3 channels .RGB. or 1 .grey."),
        (np.zeros((2, 8, 8)), [0, 1], None, r"must be uint8 .* dtype float64; floats in \[0, 1\] become pixels by"),
        (noise(8, 8), [0, 1], None, r"\(N, H, W, C\) or \(N, H, W\), found shape \(8, 8\)"),
        (noise(0, 8, 8), [], None, r"found shape \(0, 8, 8\)"),
        (noise(2, 8, 8), [0], None, "2 images and 1 labels"),
        (noise(2, 8, 8), [0.0, 1.0], None, r"labels must be integers of shape \(N,\), .* dtype float64"),
        (noise(2, 8, 8), [[1, 0], [0, 1]], None, r"labels must be integers of shape \(N,\), found shape \(2, 2\)"),
        (noise(2, 8, 8), [0, 2], ["a", "b"], "image 1 has the label 2; with 2 classes, labels are 0 to 1"),
        (noise(2, 8, 8), [0, -1], None, "image 1 has the label -1; with 1 classes"),
        (noise(2, 8, 8), [0, 1], ["a", "a"], "the class name 'a' occurs twice"),
    ],
)
def test_what_is_refused(images: Any, labels: Any, names: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words) as caught:
        ArrayDataset(images, labels, names, name="mine")
    assert str(caught.value).startswith("mine: ")


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ([], r"at least one image number, found an array of shape \(0,\)"),
        ([0.5], "dtype float64"),
        ([True, False], "dtype bool"),
        ([0, 3], "has the images 0 to 2; found 0 to 3"),
        ([-1], "has the images 0 to 2; found -1"),
    ],
)
def test_parts_that_are_refused(indices: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        Subset(ArrayDataset(noise(3, 2, 2), [0, 1, 2]), indices)


def test_channels_are_converted_as_pillow_does() -> None:
    colours = noise(64, 64, 3)
    grey = to_channels(colours, 1)
    assert grey.shape == (64, 64, 1)
    np.testing.assert_array_equal(grey[:, :, 0], np.asarray(Image.fromarray(colours).convert("L")))
    np.testing.assert_array_equal(to_channels(grey, 3), np.asarray(Image.fromarray(grey[:, :, 0]).convert("RGB")))
    assert to_channels(colours, 3) is colours


def test_reading_data_needs_neither_the_compiler_nor_a_codec() -> None:
    code = (
        "import sys, npresnet; before = set(sys.modules); assert 'npresnet.train' not in before;"
        "import npresnet.train.data, npresnet.train.augment;"
        "print([m for m in ('numba', 'scipy', 'PIL', 'matplotlib', 'rich') if m in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
