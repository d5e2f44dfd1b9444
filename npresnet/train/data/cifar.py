"""CIFAR-10 and CIFAR-100 as they are published: Python or binary, as an archive or unpacked. Nothing is written."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from .cifar_pickle import read_pickle
from .dataset import ArrayDataset
from .errors import DatasetError

FOLDERS = ("cifar-10-batches-py", "cifar-100-python", "cifar-10-batches-bin", "cifar-100-binary")
"""Names of the folders in the archives."""

ARCHIVES = (
    "cifar-10-python.tar.gz", "cifar-100-python.tar.gz", "cifar-10-binary.tar.gz", "cifar-100-binary.tar.gz",
)  # fmt: skip
"""Names of the published archives."""

_MAX_MEMBER = 256 * 2**20  # bytes; the largest file, `train` of CIFAR-100, has 155 million
_MAX_ARCHIVE = 2**30  # bytes once decompressed; the archives hold less than 190 million
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Edition:
    """One of the four forms that the data come in."""

    name: str
    binary: bool
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str  # the file with the names of the classes
    coarse_names: str | None  # those of the twenty superclasses

    def files(self, split: str, labels: str) -> tuple[str, ...]:
        """The files that a split needs."""
        names = self.names if labels == "fine" or self.coarse_names is None else self.coarse_names
        return (*(self.train if split == "train" else self.test), names)


_BATCHES = tuple(f"data_batch_{n}" for n in range(1, 6))
_EDITIONS = (
    _Edition("CIFAR-10", False, _BATCHES, ("test_batch",), "batches.meta", None),
    _Edition("CIFAR-100", False, ("train",), ("test",), "meta", "meta"),
    _Edition("CIFAR-10", True, tuple(f"{b}.bin" for b in _BATCHES), ("test_batch.bin",), "batches.meta.txt", None),
    _Edition("CIFAR-100", True, ("train.bin",), ("test.bin",), "fine_label_names.txt", "coarse_label_names.txt"),
)


def read_cifar(path: str | os.PathLike[str], split: str = "train", labels: str = "fine") -> ArrayDataset:
    """Read CIFAR-10 or CIFAR-100.

    Parameters
    ----------
    path : path
        ``cifar-10-python.tar.gz``, ``cifar-100-binary.tar.gz`` or the like, a folder that was unpacked from one, or a
        folder that holds either.
    split : {"train", "test"}
    labels : {"fine", "coarse"}
        The hundred classes of CIFAR-100, or its twenty superclasses.

    Returns
    -------
    ArrayDataset
        32 x 32 RGB, in the order of the files.

    Raises
    ------
    DatasetError
        If the files are not CIFAR's, some are missing or damaged, or a pickle asks for more than they need.
    """
    path = Path(path)
    if split not in ("train", "test") or labels not in ("fine", "coarse"):
        raise ValueError(
            f"CIFAR has the splits train and test and the labels fine and coarse; found {split!r}, {labels!r}"
        )
    place = find_cifar(path)
    if place is None:
        raise DatasetError(
            f"{path}: no CIFAR here; looked for the archives {', '.join(ARCHIVES)} and the files that they hold, such "
            "as data_batch_1 or train.bin"
        )
    edition, files = _read_folder(place, split, labels) if place.is_dir() else _read_archive(place, split, labels)
    if labels == "coarse" and edition.coarse_names is None:
        raise DatasetError(f"{place}: {edition.name} has no coarse labels, only CIFAR-100 does")
    read = _read_binary if edition.binary else _read_batch
    batches = [read(files[n], f"{place}: {n}", edition, labels) for n in edition.files(split, labels)[:-1]]
    names_file = edition.files(split, labels)[-1]
    return ArrayDataset(
        np.concatenate([images for images, _ in batches]),
        np.concatenate([numbers for _, numbers in batches]),
        _class_names(files[names_file], f"{place}: {names_file}", edition, labels),
        f"{edition.name} ({split})",
    )


def find_cifar(path: Path) -> Path | None:
    """Return the archive or folder with CIFAR's files at a path or right below it, or None.

    Raises
    ------
    DatasetError
        If the folder holds both CIFAR-10 and CIFAR-100.
    """
    if path.is_file():
        return path if path.name.lower().endswith((".tar.gz", ".tgz", ".tar")) else None
    if not path.is_dir():
        return None
    if any(_present(path, edition) for edition in _EDITIONS):
        return path
    places = [path / folder for folder in FOLDERS if (path / folder).is_dir()]
    places += [path / archive for archive in ARCHIVES if (path / archive).is_file()]
    if len({place.name.startswith("cifar-100") for place in places}) > 1:
        raise DatasetError(f"{path} holds both CIFAR-10 and CIFAR-100; give one of {', '.join(p.name for p in places)}")
    return places[0] if places else None


def _present(folder: Path, edition: _Edition) -> bool:
    """Whether a folder holds some of an edition's files. (Folders called train and test are something else.)"""
    return any((folder / name).is_file() for name in (edition.train[0], edition.test[0]))


def _read_folder(folder: Path, split: str, labels: str) -> tuple[_Edition, dict[str, bytes]]:
    edition = next(edition for edition in _EDITIONS if _present(folder, edition))
    files = {}
    for name in edition.files(split, labels):
        if not (folder / name).is_file():
            raise DatasetError(f"{folder}: {name} is missing from {edition.name}; unpack the archive again")
        files[name] = _checked_read(folder / name)
    return edition, files


def _checked_read(path: Path) -> bytes:
    if path.stat().st_size > _MAX_MEMBER:
        raise DatasetError(f"{path} has {path.stat().st_size:,} bytes, more than any file of CIFAR; it is refused")
    return path.read_bytes()


def _read_archive(path: Path, split: str, labels: str) -> tuple[_Edition, dict[str, bytes]]:
    """Read what a split needs and stop: the members of the archive come in no particular order."""
    files: dict[str, bytes] = {}
    wanted = {name for edition in _EDITIONS for name in edition.files(split, labels)}
    try:
        for name, content in _members(path, wanted):
            if name in files:
                raise DatasetError(f"{path}: the archive holds {name} twice")
            files[name] = content
            for edition in _EDITIONS:
                if files.keys() >= set(edition.files(split, labels)):
                    return edition, files
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise DatasetError(f"{path}: the archive is damaged or cut short ({error}); download it again") from error
    found = f"found only {', '.join(sorted(files))}" if files else "found none of its files"
    raise DatasetError(f"{path}: this is not a complete CIFAR archive; for the split {split!r} {found}")


def _members(path: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """The wanted files of an archive by their last name; they are read one after another, and nothing is written."""
    opened: Any = open if path.name.lower().endswith(".tar") else gzip.open
    with opened(path, "rb") as stream, tarfile.open(fileobj=_Limited(stream, path), mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts:
                raise DatasetError(f"{path}: the archive holds the unsafe name {member.name[:80]!r}; it is refused")
            if name.name not in wanted or not member.isreg():
                continue
            if member.size > _MAX_MEMBER:
                raise DatasetError(f"{path}: {name} claims {member.size:,} bytes, more than any file of CIFAR")
            content = tar.extractfile(member)
            assert content is not None  # it is a regular file
            yield name.name, content.read()


class _Limited:
    """A stream that refuses to become endless: a few kilobytes of gzip can hold gigabytes of zeros."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path, self._left = stream, path, _MAX_ARCHIVE

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise DatasetError(
                f"{self._path}: decompresses to more than {_MAX_ARCHIVE:,} bytes; it is refused as a bomb"
            )
        return chunk


def _read_batch(content: bytes, what: str, edition: _Edition, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) and labels (N,) of a pickled batch."""
    batch = read_pickle(content, what)
    key = "labels" if edition.name == "CIFAR-10" else f"{labels}_labels"
    missing = [name for name in ("data", key) if name not in batch]
    if missing:
        raise DatasetError(f"{what} has no {' and no '.join(missing)}; it holds {', '.join(sorted(batch)[:8])}")
    data, numbers = batch["data"], batch[key]
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS:
        raise DatasetError(
            f"{what}: the images must be rows of {_PIXELS} bytes, found {getattr(data, 'shape', data)!r}"
        )
    if type(numbers) is not list or not all(type(number) is int for number in numbers):
        raise DatasetError(f"{what}: {key} must be a list of integers")
    return _to_images(data), np.array(numbers, np.int64)


def _read_binary(content: bytes, what: str, edition: _Edition, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of records: one label (CIFAR-10) or the coarse and the fine one, then the planes R, G, B."""
    before = 1 if edition.name == "CIFAR-10" else 2
    if len(content) == 0 or len(content) % (before + _PIXELS):
        raise DatasetError(f"{what}: {len(content)} bytes are not records of {before + _PIXELS}; the file is cut short")
    records = np.frombuffer(content, np.uint8).reshape(-1, before + _PIXELS)
    return _to_images(records[:, before:]), records[:, 0 if labels == "coarse" else before - 1].astype(np.int64)


def _to_images(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _class_names(content: bytes, what: str, edition: _Edition, labels: str) -> list[str]:
    if edition.binary:
        return content.decode("utf-8", "replace").split()
    key = "label_names" if edition.name == "CIFAR-10" else f"{labels}_label_names"
    names = read_pickle(content, what).get(key)
    if type(names) is not list or not names:
        raise DatasetError(f"{what} has no list {key} of the names of the classes")
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names]
