"""The files of MNIST: both spellings, compressed or not, and what is damaged."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_data import idx, mnist, noise

from npresnet.train.data import DatasetError, open_dataset, read_idx
from npresnet.train.data import idx as module

TRAIN, TEST = (noise(5, 28, 28), [3, 1, 4, 1, 5]), (noise(2, 28, 28, seed=1), [9, 2])


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("where", ["here", "raw", "file"])
def test_both_splits(mark: str, zipped: bool, where: str, tmp_path: Path) -> None:
    folder = mnist(tmp_path / "digits" / ("raw" if where == "raw" else ""), TRAIN, TEST, mark, zipped)
    path = tmp_path / "digits"
    if where == "file":
        path = next(folder.glob("t10k-labels*"))
    for split, (images, labels) in (("train", TRAIN), ("test", TEST)):
        dataset = open_dataset(path, split)
        assert dataset.name == f"{path} ({split})"
        assert dataset.labels.tolist() == labels
        assert dataset.class_names == tuple(map(str, range(max(labels) + 1)))
        np.testing.assert_array_equal(dataset.image(1), images[1][:, :, None])


def test_fashion_mnist_is_known_by_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.array([9, 0, 3], np.uint8)
    monkeypatch.setitem(module._NAMES_BY_LABELS, hashlib.sha256(labels.tobytes()).hexdigest(), module._FASHION)
    folder = mnist(tmp_path, (noise(3, 28, 28), labels), TEST)
    dataset = open_dataset(folder)
    assert [dataset.class_names[label] for label in dataset.labels] == ["Ankle boot", "T-shirt/top", "Dress"]
    pair = [folder / f"train-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    assert read_idx(*pair, class_names="abcdefghij", name="mine").class_names[9] == "j"
    assert read_idx(*pair, name="mine").name == "mine"


WHOLE = idx(TRAIN[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not an IDX file, as MNIST's are: it begins with nothing"),
        (b"<html>", "is not an IDX file, as MNIST's are: it begins with 3c 68 74 6d"),
        (
            idx(np.array(TRAIN[1])),
            r"expected 3 dimensions of bytes \(type 8\), found 1 of type 8; are images and labels",
        ),
        (WHOLE.replace(b"\x08", b"\x0d", 1), "found 3 of type 13"),
        (WHOLE[:9], "ends within its header"),
        (WHOLE[:-1], r"should hold 3,920 bytes, shape \(5, 28, 28\), and holds only 3,919"),
        (WHOLE + b"x", "should hold 3,920 bytes, .* and holds more"),
        (b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3, "more than 2,147,483,648 are refused"),
        (b"\0\0\x08\x03" + b"\0\0\xff\xff" + b"\0\0\0\x10" * 2, "and holds only 0"),
        (b"\0\0\x08\x03" + bytes(12), r"found shape \(0, 0, 0"),
        (gzip.compress(WHOLE)[:-200], "damaged or cut short"),
        (gzip.compress(WHOLE)[:-6] + b"\0" * 6, "damaged or cut short"),
        (gzip.compress(WHOLE)[:40] + b"\xff" * 100 + gzip.compress(WHOLE)[140:], "damaged or cut short"),
    ],
)
def test_damage(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(content)
    (tmp_path / "labels").write_bytes(idx(np.array(TRAIN[1])))
    with pytest.raises(DatasetError, match=words) as caught:
        read_idx(tmp_path / "images", tmp_path / "labels")
    assert str(tmp_path / "images") in str(caught.value)


def test_images_and_labels_of_different_files(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(WHOLE)
    (tmp_path / "labels").write_bytes(idx(np.array([1, 2])))
    with pytest.raises(DatasetError, match="5 images and 2 labels"):
        read_idx(tmp_path / "images", tmp_path / "labels")


def test_one_split_alone(tmp_path: Path) -> None:
    folder = mnist(tmp_path, TRAIN, TEST)
    for path in folder.glob("train*"):
        path.unlink()
    options: Any = {"split": "train"}
    assert len(open_dataset(folder, "test")) == 2
    with pytest.raises(DatasetError, match="has no split 'train'; it has test"):
        open_dataset(folder, **options)
