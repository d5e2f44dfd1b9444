"""Photographs in folders: the order, what is left out, all kinds of files, and errors that name them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_data import noise

from npresnet.train.augment import make_augmentation
from npresnet.train.data import DatasetError, Loader, dataset_splits, open_dataset, read_folder


def photo(
    path: Path, seed: int = 0, size: tuple[int, int] = (6, 5), mode: str = "RGB", **options: object
) -> np.ndarray:
    """Save random pixels; returns what a reader should see, RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(noise(*size, 3, seed=seed)).convert(mode)
    picture.save(path, **options)  # type: ignore[arg-type]
    return np.asarray(picture.convert("RGB"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three classes, made in an order that is not the alphabet's, with things in between that are no images."""
    root = tmp_path / "animals"
    for n, name in enumerate(["dog/b.png", "cat/10.png", "cat/9.PNG", "dog/a.png", "ant/deep/er/x.png", "ant/y.png"]):
        photo(root / name, n)
    for extra in (
        "cat/.hidden.png", "cat/._9.PNG", ".git/x.png", "__MACOSX/cat/._10.png", "cat/notes.txt", "README.md",
        "dog/Thumbs.db", "ant/.cache/z.png",
    ):  # fmt: skip
        (root / extra).parent.mkdir(parents=True, exist_ok=True)
        (root / extra).write_bytes(b"no picture")
    return root


def test_classes_and_files_are_in_alphabetical_order(tree: Path) -> None:
    dataset = read_folder(tree)
    assert dataset.class_names == ("ant", "cat", "dog")
    assert [str(file.relative_to(tree)) for file in dataset.files] == [
        "ant/deep/er/x.png", "ant/y.png", "cat/10.png", "cat/9.PNG", "dog/a.png", "dog/b.png",
    ]  # fmt: skip
    assert dataset.labels.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(dataset.image(5), noise(6, 5, 3, seed=0))
    assert repr(dataset) == f"<{tree}: 6 images (files) in 3 classes>"


def test_the_order_does_not_depend_on_the_file_system(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_folder(tree).files
    walk, iterdir = os.walk, Path.iterdir

    def backwards(*arguments: Any, **options: Any) -> Iterator[Any]:
        for folder, subfolders, files in walk(*arguments, **options):
            subfolders.reverse()
            yield folder, subfolders, files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(list(iterdir(self))))
    assert read_folder(tree).files == expected


def test_files_of_all_kinds_become_upright_rgb(tmp_path: Path) -> None:
    kinds = {"a.png": "L", "b.png": "RGBA", "c.png": "P", "d.bmp": "RGB", "e.png": "1", "f.webp": "RGB", "g.png": "LA"}
    expected = [
        photo(tmp_path / "x" / name, n, mode=mode, **({"lossless": True} if "webp" in name else {}))
        for n, (name, mode) in enumerate(kinds.items())
    ]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright = np.rot90(photo(tmp_path / "x" / "z.png", 9, exif=exif), -1)
    dataset = read_folder(tmp_path)
    for index, image in enumerate([*expected, upright]):
        assert dataset.image(index).shape == image.shape
        np.testing.assert_array_equal(dataset.image(index), image)


def test_a_second_folder_may_lack_classes_but_adds_none(tree: Path, tmp_path: Path) -> None:
    photo(tmp_path / "more" / "dog" / "x.png")
    names = read_folder(tree).class_names
    dataset = read_folder(tmp_path / "more", names)
    assert dataset.class_names == names
    assert dataset.labels.tolist() == [2]
    photo(tmp_path / "more" / "emu" / "x.png")
    with pytest.raises(DatasetError, match="the folder 'emu' is none of the 3 classes, which are 'ant', 'cat', 'dog'"):
        read_folder(tmp_path / "more", names)


def test_a_class_without_images(tree: Path) -> None:
    (tree / "bee").mkdir()
    (tree / "bee" / "notes.txt").touch()
    with pytest.raises(DatasetError, match=r"the class 'bee' has no images: .*looked at every depth"):
        read_folder(tree)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            [],
            r"no data set of a known kind; expected CIFAR .*, MNIST's kind .*, an \.npz .* or a folder of images",
        ),
        (["a.png", "b.png"], "expected a folder for each class, such as .*cat, but its images lie in no folder"),
        (["data/cat/a.png", "data/dog/b.png"], "its only folder, 'data', holds no images itself but more folders"),
    ],
)
def test_other_trees(files: list[str], words: str, tmp_path: Path) -> None:
    for name in files:
        photo(tmp_path / name)
    with pytest.raises(DatasetError, match=words):
        open_dataset(tmp_path)


def test_a_file_that_is_no_picture_is_named_with_its_number(tree: Path) -> None:
    (tree / "cat" / "10.png").write_bytes(b"no picture")
    (tree / "dog" / "a.png").write_bytes((tree / "dog" / "a.png").read_bytes()[:60])
    dataset = read_folder(tree)
    for index, name in [(2, "10.png"), (4, "a.png")]:
        with pytest.raises(DatasetError, match=f"^image {index} of {tree}: .*{name}"):
            dataset.image(index)
    augment = make_augmentation([{"name": "random_crop", "padding": 1}], 5)
    loader = Loader(dataset, 6, size=5, mean=(0.5,) * 3, std=(0.5,) * 3, augment=augment)
    with pytest.raises(DatasetError, match=f"^image 2 of {tree}: .*10.png") as caught:
        next(loader.epoch(0))
    assert str(caught.value).count("image 2 of") == 1
    os.remove(tree / "ant" / "y.png")
    with pytest.raises(DatasetError, match=r"^image 1 of .*no such picture: .*y.png"):
        dataset.image(1)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "a" / "x.png", size=(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DatasetError, match=r"image 0 of .* declares more than 1000 pixels"):
        read_folder(tmp_path).image(0)


def test_an_augmentation_that_fails_names_the_file(tree: Path) -> None:
    augment = make_augmentation([{"name": "random_crop"}], 20)
    loader = Loader(read_folder(tree), 3, size=20, mean=(0.5,), std=(0.5,), augment=augment)
    with pytest.raises(DatasetError, match=r"image 0 of .* \(.*deep/er/x.png\): a window of 20 x 20 does not fit"):
        next(loader.epoch(0))


# Splits


def test_folders_called_train_and_val(tmp_path: Path) -> None:
    for name in ("train/cat/a.png", "train/dog/b.png", "train/dog/c.png", "validation/dog/d.png"):
        photo(tmp_path / name)
    (tmp_path / "annotations").mkdir()
    assert dataset_splits(tmp_path) == ("train", "val")
    train, validation = open_dataset(tmp_path), open_dataset(tmp_path, "val")
    assert train.labels.tolist() == [0, 1, 1]
    assert validation.labels.tolist() == [1]
    assert train.class_names == validation.class_names == ("cat", "dog")
    with pytest.raises(DatasetError, match="has no split 'test'; it has train, val"):
        open_dataset(tmp_path, "test")
    photo(tmp_path / "val" / "dog" / "e.png")
    with pytest.raises(DatasetError, match="'val' and 'validation' are two names of one split"):
        open_dataset(tmp_path)


def test_a_test_set_alone(tmp_path: Path) -> None:
    for name in ("test/cat/a.png", "test/dog/b.png"):
        photo(tmp_path / name)
    assert dataset_splits(tmp_path) == ("test",)
    assert len(open_dataset(tmp_path, "test")) == 2


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    for name in ("train/a.png", "test/b.png", "bus/c.png"):
        photo(tmp_path / name)
    assert dataset_splits(tmp_path) == ("all",)
    assert open_dataset(tmp_path).class_names == ("bus", "test", "train")
    with pytest.raises(DatasetError, match="is not divided and has no split 'test'"):
        open_dataset(tmp_path, "test")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "no such file or folder: '.*gone'"),
        ("cifar-10", "no such file or folder: .*; `npresnet fetch cifar10` downloads it"),
        ("photos.zip", "unpack it and give the folder; expected CIFAR"),
        ("notes.txt", "no data set of a known kind; expected CIFAR"),
    ],
)
def test_paths_without_a_data_set(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match=words):
        open_dataset(tmp_path / name)
