"""Data sets in one .npz: every layout, and no pickled arrays."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_data import noise

from npresnet.train.data import ArrayDataset, CompressedDataset, DatasetError, dataset_splits, open_dataset, read_npz

TRAIN, TEST = noise(4, 6, 5, 3), noise(2, 6, 5, 3, seed=1)


def encoded(images: np.ndarray, kind: str = "PNG") -> tuple[np.ndarray, np.ndarray]:
    """All files in a row, and where each begins."""
    contents = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, kind)
        contents.append(stream.getvalue())
    return np.frombuffer(b"".join(contents), np.uint8), np.cumsum([0, *map(len, contents)])


@pytest.mark.parametrize("form", ["images_{}", "{}_images", "x_{}", "{}_x"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_splits(form: str, save: Any, tmp_path: Path) -> None:
    names = [form, form.replace("images", "labels").replace("x", "y")]
    arrays = {names[0].format("train"): TRAIN, names[1].format("train"): np.array([[0], [2], [1], [2]])}
    arrays |= {names[0].format("test"): TEST, names[1].format("test"): np.array([2, 0], np.uint8)}
    path = tmp_path / "data.npz"
    save(path, **arrays, class_names=np.array(["a", "b", "é"]))
    assert dataset_splits(path) == ("train", "test")
    train, test = open_dataset(path), open_dataset(path, "test")
    assert isinstance(train, ArrayDataset)
    np.testing.assert_array_equal(train.images(np.arange(4)), TRAIN)
    np.testing.assert_array_equal(test.image(1), TEST[1])
    assert train.labels.tolist() == [0, 2, 1, 2]
    assert test.labels.tolist() == [2, 0]
    assert train.class_names == test.class_names == ("a", "b", "é")
    assert test.name == f"{path} (test)"
    with pytest.raises(DatasetError, match="has no split 'val'; it has test, train"):
        read_npz(path, "val")


def test_without_splits(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=TRAIN[..., 0], y=[0, 1, 1, 0], other=np.zeros(3))
    assert dataset_splits(path) == ("all",)
    for split in ("all", "train"):
        dataset = open_dataset(path, split)
        np.testing.assert_array_equal(dataset.image(3), TRAIN[3, ..., :1])
        assert dataset.name == str(path)
    with pytest.raises(DatasetError, match="is not divided and has no split 'test'; ask for 'all', or hold out a part"):
        open_dataset(path, "test")


def test_bytes_of_files(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    data, offsets = encoded(TRAIN)
    test, test_offsets = encoded(TEST)
    np.savez(
        path, png_train=data, offsets_train=offsets, labels_train=[0, 1, 1, 0],
        png_val=test, offsets_val=test_offsets, labels_val=[1, 1],
    )  # fmt: skip
    assert dataset_splits(path) == ("train", "val")
    train, validation = read_npz(path), read_npz(path, "validation")
    assert isinstance(train, CompressedDataset)
    np.testing.assert_array_equal(train.image(2), TRAIN[2])
    np.testing.assert_array_equal(validation.image(1), TEST[1])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": TRAIN, "b": [1]}, "holds the arrays a, b; expected images [+] labels or x [+] y"),
        ({"images_train": TRAIN}, "holds the arrays images_train; expected"),
        ({"jpeg": TRAIN.ravel(), "labels": [1]}, "holds the arrays jpeg, labels; expected"),
        ({"images": TRAIN.transpose(0, 3, 1, 2), "labels": [0, 1, 1, 0]}, r"pass images.transpose\(0, 2, 3, 1\)"),
        ({"images": TRAIN / 255, "labels": [0, 1, 1, 0]}, "dtype float64"),
        ({"images": TRAIN, "labels": [0, 1, 1, 5], "class_names": ["a", "b"]}, "image 3 has the label 5"),
        ({"images": TRAIN, "labels": np.array([0, 1, None, 0])}, r"array 'labels'; only plain arrays are read"),
    ],
)
def test_what_is_refused(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match=words) as caught:
        open_dataset(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no zip at all", "cut"])
def test_damaged_files(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=TRAIN, labels=[0, 1, 1, 0])
    path.write_bytes(path.read_bytes()[:-100] if content == "cut" else content)
    with pytest.raises(DatasetError, match=r"data\.npz: "):
        open_dataset(path)


def test_a_wrong_bit(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, images=TRAIN, labels=[0, 1, 1, 0])
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # a pixel
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="fails its checksum"):
        open_dataset(path)


def test_a_header_that_claims_too_much(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999, 9999, 9999, 3), }\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        archive.writestr("labels.npy", b"")
    with pytest.raises(DatasetError, match=r"data\.npz: "):
        open_dataset(path)
