"""Tiny data sets in the forms that the real ones are published in, written byte by byte."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Random pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def planes(images: np.ndarray) -> np.ndarray:
    """Images (N, 32, 32, 3) as CIFAR stores them: rows of all reds, all greens, all blues."""
    return np.stack([np.concatenate([image[:, :, c].ravel() for c in range(3)]) for image in images])


# Pickles as Python 2 wrote them


def short(text: str) -> bytes:
    """A short str."""
    return b"U" + bytes([len(text)]) + text.encode()


def long_bytes(content: bytes) -> bytes:
    """A long str."""
    return b"T" + struct.pack("<i", len(content)) + content


def integers(values: Any) -> bytes:
    """A list of small integers."""
    return b"](" + b"".join(b"K" + bytes([v]) for v in values) + b"e"


def array(rows: np.ndarray) -> bytes:
    """A uint8 array of two dimensions, as NumPy pickled it in 2009."""
    dtype = (
        b"cnumpy\ndtype\n" + short("u1") + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = b"J" + struct.pack("<i", rows.shape[0]) + b"M" + struct.pack("<H", rows.shape[1]) + b"\x86"
    new = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return new + b"(K\x01" + shape + dtype + b"\x89" + long_bytes(rows.tobytes()) + b"tb"


def dictionary(items: Mapping[str, bytes]) -> bytes:
    """A whole pickle of a dict whose values are pickled already."""
    return b"\x80\x02}q\x01(" + b"".join(short(key) + value for key, value in items.items()) + b"u."


def text_pickle(key: str, names: list[str]) -> bytes:
    """A pickle of protocol 0: a dict with a number and a list of names."""
    listed = "".join(f"S'{name}'\np{n + 5}\na" for n, name in enumerate(names))
    return f"(dp1\nS'num_vis'\np2\nI3072\nsS'{key}'\np3\n(lp4\n{listed}s.".encode()


# CIFAR


def cifar10_python(train: np.ndarray, test: np.ndarray, labels: Any, test_labels: Any) -> dict[str, bytes]:
    """The files of CIFAR-10's Python edition: a fifth of the images in each batch."""
    files = {"batches.meta": text_pickle("label_names", CIFAR10), "readme.html": b"<html></html>"}
    for n, part in enumerate(np.array_split(np.arange(len(train)), 5), 1):
        files[f"data_batch_{n}"] = dictionary(
            {
                "batch_label": short(f"training batch {n} of 5"),
                "labels": integers(np.asarray(labels)[part]),
                "data": array(planes(train[part])),
                "filenames": b"](" + short("leptodactylus_pentadactylus_s_000004.png") + b"e",
            }
        )
    files["test_batch"] = dictionary({"labels": integers(test_labels), "data": array(planes(test))})
    return files


def cifar100_python(
    train: np.ndarray, test: np.ndarray, fine: Any, coarse: Any, test_fine: Any, test_coarse: Any
) -> dict[str, bytes]:
    """The files of CIFAR-100's Python edition."""
    names = {
        "fine_label_names": b"](" + b"".join(short(f"fine{n}") for n in range(100)) + b"e",
        "coarse_label_names": b"](" + b"".join(short(f"coarse{n}") for n in range(20)) + b"e",
    }
    return {
        "train": dictionary(
            {"fine_labels": integers(fine), "coarse_labels": integers(coarse), "data": array(planes(train))}
        ),
        "test": dictionary(
            {"fine_labels": integers(test_fine), "coarse_labels": integers(test_coarse), "data": array(planes(test))}
        ),
        "meta": dictionary(names),
    }


def records(images: np.ndarray, *labels: Any) -> bytes:
    """Images with one or two labels before each, as in the binary editions."""
    rows = zip(*labels, planes(images), strict=True)
    return b"".join(bytes(int(v) for v in before) + plane.tobytes() for *before, plane in rows)


def tar(path: Path, folder: str, files: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    """Write an archive of files in a folder."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo(folder)
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def unpacked(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a new folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


# MNIST


def idx(values: np.ndarray) -> bytes:
    """An IDX file of bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return b"\0\0\x08" + bytes([values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def mnist(
    folder: Path, train: tuple[np.ndarray, Any], test: tuple[np.ndarray, Any], mark: str = "-", zipped: bool = True
) -> Path:
    """Write the four files."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, (images, labels) in (("train", train), ("t10k", test)):
        for what, values, ndim in (("images", images, 3), ("labels", np.array(labels), 1)):
            content = idx(values)
            name = f"{prefix}-{what}{mark}idx{ndim}-ubyte"
            (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
    return folder
