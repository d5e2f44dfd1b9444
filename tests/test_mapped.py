"""Mapped files: which arrays look into one, and giving its pages back to the system."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from small import network

from npresnet.checkpoint import read, read_raw
from npresnet.checkpoint.mapped import map_file, mapping_of, release

VALUES = np.random.default_rng(3).standard_normal(2**20).astype(np.float32)  # 4 MiB
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="pages in memory are counted with Linux's /proc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    VALUES.tofile(tmp_path / "values")
    return tmp_path / "values"


def resident(path: Path) -> int:
    """Bytes of a mapped file in this process's memory."""
    total, within = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            within = line.endswith(str(path))
        elif within and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_mapping_of(path: Path) -> None:
    data = map_file(path)
    assert isinstance(data.obj, mmap.mmap)
    array = np.frombuffer(data, np.float32)
    strided = np.lib.stride_tricks.as_strided(array, (10, 10), (40, 4), writeable=False)
    for view in (data, data[5:9], array, array[7:].reshape(3, -1).T, array.view(np.int32), strided):
        assert mapping_of(view) is data.obj
    for other in (VALUES, VALUES[1:], array + 1, b"bytes", memoryview(b"bytes")):
        assert mapping_of(other) is None
    with open(path, "rb") as file:
        private = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    assert mapping_of(np.frombuffer(private, np.float32)) is None


def test_release_changes_no_values(path: Path) -> None:
    array = np.frombuffer(map_file(path), np.float32)
    with open(path, "rb") as file:
        private = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.float32)
    private[:] = 1
    owned = VALUES.copy()
    views = [
        array,
        array[5000:90_001],
        array[:3],
        array[-3:],
        array[:0],
        array[::2],
        array[::-1],
        array[:100].reshape(10, 10).T,
    ]
    for view in (*views, memoryview(array), private, owned, np.float32(1), np.zeros(0)):
        release(view)
    assert np.array_equal(array, VALUES)
    assert np.array_equal(owned, VALUES)
    assert (private == 1).all()


@on_linux
def test_release_gives_pages_back(path: Path) -> None:
    data = map_file(path)
    array = np.frombuffer(data, np.float32)
    array.sum()
    assert resident(path) == len(data)
    release(array[2**19 :])  # a limit of large pages too, which the system gives back as a whole
    assert resident(path) == len(data) // 2
    release(array[: 2**19])
    assert resident(path) == 0
    assert np.array_equal(array, VALUES)


def test_release_without_madvise(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    release(np.frombuffer(map_file(path), np.float32))


@on_linux
@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
def test_reading_keeps_little_of_the_file_in_memory(tmp_path: Path, name: str) -> None:
    """Checksums and the check for NaN go through all of it."""
    path = tmp_path / name
    network(hidden_sizes=(64, 256), depths=(1, 2)).save(path)
    size = path.stat().st_size
    assert size > 7e6
    found = read(path)
    assert resident(path) < size / 2
    del found
    if name == "a.npz":
        raw = read_raw(path)  # its checksums are checked
        assert resident(path) < size / 2
        assert raw.arrays


@on_linux
def test_an_array_that_is_copied_is_not_in_memory_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, ab=np.zeros(1), odd=VALUES)  # the lengths of the names decide where the values lie
    arrays = read_raw(path).arrays
    assert mapping_of(arrays["ab"]) is not None
    assert mapping_of(arrays["odd"]) is None
    assert resident(path) < VALUES.nbytes / 2
    assert np.array_equal(arrays["odd"], VALUES)
