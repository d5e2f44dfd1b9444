"""CIFAR in its four editions, packed and unpacked; and what hostile or damaged archives get."""

from __future__ import annotations

import contextlib
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
from tiny_data import array, dictionary, integers, noise, planes, short, tar, unpacked

from npresnet.train.data import DatasetError, cifar, read_cifar
from npresnet.train.data.cifar_pickle import read_pickle

TRAIN, TEST = noise(15, 32, 32, 3), noise(4, 32, 32, 3, seed=1)
LABELS, TEST_LABELS = (np.arange(15) * 7) % 10, [9, 0, 3, 3]
FINE, COARSE = np.arange(15) * 6 + 3, np.arange(15) + 4
TEST_FINE, TEST_COARSE = [99, 1, 1, 50], [19, 0, 7, 7]


def python10() -> dict[str, bytes]:
    return tiny_data.cifar10_python(TRAIN, TEST, LABELS, TEST_LABELS)


def python100() -> dict[str, bytes]:
    return tiny_data.cifar100_python(TRAIN, TEST, FINE, COARSE, TEST_FINE, TEST_COARSE)


def binary10() -> dict[str, bytes]:
    files = {
        f"data_batch_{n + 1}.bin": tiny_data.records(TRAIN[3 * n : 3 * n + 3], LABELS[3 * n : 3 * n + 3])
        for n in range(5)
    }
    names = "\n".join(tiny_data.CIFAR10) + "\n\n"
    return {**files, "test_batch.bin": tiny_data.records(TEST, TEST_LABELS), "batches.meta.txt": names.encode()}


def binary100() -> dict[str, bytes]:
    return {
        "train.bin": tiny_data.records(TRAIN, COARSE, FINE),
        "test.bin": tiny_data.records(TEST, TEST_COARSE, TEST_FINE),
        "fine_label_names.txt": "\n".join(f"fine{n}" for n in range(100)).encode(),
        "coarse_label_names.txt": "\n".join(f"coarse{n}" for n in range(20)).encode(),
    }


EDITIONS = {
    "cifar-10-batches-py": python10, "cifar-100-python": python100,
    "cifar-10-batches-bin": binary10, "cifar-100-binary": binary100,
}  # fmt: skip
ARCHIVES = dict(
    zip(EDITIONS, ["cifar-10-python", "cifar-100-python", "cifar-10-binary", "cifar-100-binary"], strict=True)
)


@pytest.mark.parametrize("place", ["archive", "tar", "folder", "above the archive", "above the folder"])
@pytest.mark.parametrize("folder", list(EDITIONS))
def test_all_editions(folder: str, place: str, tmp_path: Path) -> None:
    files = EDITIONS[folder]()
    path = {
        "archive": lambda: tar(tmp_path / "renamed.tgz", folder, files),
        "tar": lambda: tar(tmp_path / "x.tar", folder, files, "w"),
        "folder": lambda: unpacked(tmp_path / "renamed", files),
        "above the archive": lambda: tar(tmp_path / f"{ARCHIVES[folder]}.tar.gz", folder, files).parent,
        "above the folder": lambda: unpacked(tmp_path / folder, files).parent,
    }[place]()
    hundred = "100" in folder
    train, test = read_cifar(path), read_cifar(str(path), "test")
    assert train.name == ("CIFAR-100 (train)" if hundred else "CIFAR-10 (train)")
    np.testing.assert_array_equal(train.images(np.arange(15)), TRAIN)
    np.testing.assert_array_equal(test.images(np.arange(4)), TEST)
    assert train.labels.tolist() == (FINE if hundred else LABELS).tolist()
    assert test.labels.tolist() == (TEST_FINE if hundred else TEST_LABELS)
    assert (
        train.class_names
        == test.class_names
        == tuple(f"fine{n}" for n in range(100) if hundred) + tuple(() if hundred else tiny_data.CIFAR10)
    )
    if hundred:
        coarse = read_cifar(path, "test", labels="coarse")
        assert coarse.labels.tolist() == TEST_COARSE
        assert coarse.class_names[:2] == ("coarse0", "coarse1")
    else:
        with pytest.raises(DatasetError, match="CIFAR-10 has no coarse labels"):
            read_cifar(path, labels="coarse")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickles_written_again_by_python_3(protocol: int) -> None:
    content = pickle.dumps({"data": planes(TEST), "labels": TEST_LABELS, "name": "é"}, protocol)
    found = read_pickle(content, "x")
    np.testing.assert_array_equal(found["data"], planes(TEST))
    assert found["labels"] == TEST_LABELS
    by_column = pickle.dumps({"data": np.asfortranarray(planes(TEST))}, protocol)
    np.testing.assert_array_equal(read_pickle(by_column, "x")["data"], planes(TEST))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nothing", "no CIFAR here; looked for the archives cifar-10-python.tar.gz"),
        ("notes.txt", "no CIFAR here"),
        ("both", "holds both CIFAR-10 and CIFAR-100; give one of cifar-10-batches-py, cifar-100-python"),
    ],
)
def test_no_cifar(path: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "notes.txt").write_text("train")
    (tmp_path / "both" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "both" / "cifar-100-python").mkdir()
    with pytest.raises(DatasetError, match=words):
        read_cifar(tmp_path / path)


@pytest.mark.parametrize(("split", "labels"), [("val", "fine"), ("train", "rough")])
def test_unknown_splits_and_labels(split: str, labels: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the splits train and test and the labels fine and coarse"):
        read_cifar(tmp_path, split, labels)


# Damage


@pytest.mark.parametrize("form", ["archive", "folder"])
@pytest.mark.parametrize("missing", ["data_batch_3", "batches.meta"])
def test_a_missing_file_is_named(form: str, missing: str, tmp_path: Path) -> None:
    files = python10()
    del files[missing]
    path = tar(tmp_path / "c.tar.gz", "c", files) if form == "archive" else unpacked(tmp_path / "c", files)
    with pytest.raises(
        DatasetError, match=f"{missing} is missing" if form == "folder" else "not a complete CIFAR archive"
    ):
        read_cifar(path)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_an_archive_that_is_cut_short(keep: float, tmp_path: Path) -> None:
    path = tar(tmp_path / "c.tar.gz", "c", python10())
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DatasetError, match=r"c\.tar\.gz"):
        read_cifar(path)


def test_an_archive_with_a_wrong_bit(tmp_path: Path) -> None:
    path = tar(tmp_path / "c.tar.gz", "c", {"test_batch": python10()["test_batch"]})  # then it is read to the end
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"damaged or cut short|not a complete"):
        read_cifar(path, "test")


def test_something_else_in_a_tar(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="not a complete CIFAR archive; for the split 'train' found none of its files"
    ):
        read_cifar(tar(tmp_path / "c.tar.gz", "c", {"photo.jpg": b"x"}))
    (tmp_path / "d.tar.gz").write_bytes(b"neither gzip nor tar")
    with pytest.raises(DatasetError, match="damaged or cut short"):
        read_cifar(tmp_path / "d.tar.gz")


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({"labels": integers([1, 2])}, "test_batch has no data; it holds labels"),
        ({"data": array(planes(TEST))}, "has no labels; it holds data"),
        (
            {"data": array(planes(TEST)[:, :3000]), "labels": integers([1, 2, 3, 4])},
            r"rows of 3072 bytes, found \(4, 3000\)",
        ),
        ({"data": integers([1]), "labels": integers([1])}, "rows of 3072 bytes"),
        ({"data": array(planes(TEST)), "labels": integers([1, 2])}, "4 images and 2 labels"),
        ({"data": array(planes(TEST)), "labels": integers([1, 2, 3, 10])}, "image 3 has the label 10; with 10 classes"),
        ({"data": array(planes(TEST)), "labels": short("1234")}, "labels must be a list of integers"),
        ({"data": array(planes(TEST)), "labels": b"](" + short("1") + b"e"}, "labels must be a list of integers"),
    ],
)
def test_batches_that_do_not_hold_what_they_should(batch: dict[str, bytes], words: str, tmp_path: Path) -> None:
    path = unpacked(tmp_path / "c", {**python10(), "test_batch": dictionary(batch)})
    with pytest.raises(DatasetError, match=words):
        read_cifar(path, "test")


def test_records_that_are_cut_short(tmp_path: Path) -> None:
    files = binary10()
    files["test_batch.bin"] = files["test_batch.bin"][:-1]
    with pytest.raises(DatasetError, match=r"test_batch\.bin: 12291 bytes are not records of 3073"):
        read_cifar(unpacked(tmp_path / "c", files), "test")


# Hostility


class Hostile:
    """Its pickle calls a function of the attacker's choice."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_called(protocol: int, tmp_path: Path) -> None:
    files = python10()
    files["test_batch"] = pickle.dumps({"data": Hostile(), "labels": []}, protocol)
    with pytest.raises(DatasetError, match=r"test_batch: the pickle names (__)?builtin(s|__)?\.exec, .* it is refused"):
        read_cifar(tar(tmp_path / "c.tar.gz", "c", files), "test")


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x02]q\x01.", "holds a list, expected a dictionary"),
        (b"\x80\x02}", "damaged"),
        (b"", "damaged"),
        (dictionary({"data": RECONSTRUCT}), None),  # a name that is never called is harmless
        (dictionary({"data": RECONSTRUCT + b"}b"}), "sets the state of a function"),
        (dictionary({"data": RECONSTRUCT + b")R"}), "array that is not complete"),
        (dictionary({"data": RECONSTRUCT + b")\x81"}), "uses NEWOBJ, which CIFAR does not need"),
        (dictionary({"data": b"cnumpy\nndarray\n)R"}), "calls ndarray in a way that CIFAR does not"),
        (dictionary({"data": b"cnumpy\nfromfile\n"}), r"names numpy\.fromfile"),
        (dictionary({"data": b"cos\nsystem\n"}), r"names os\.system"),
        (dictionary({"data": b"\x82\x01"}), "uses EXT1"),
        (dictionary({"data": b"ios\nsystem\n"}), "uses INST"),
        (dictionary({"data": array(planes(TEST)).replace(b"u1K", b"O8K")}), "an array of 'O8', expected bytes"),
        (
            dictionary({"data": array(planes(TEST)).replace(b"M\x00\x0c", b"M\x00\x0d")}),
            r"shape \(4, 3328\) with 12288 bytes",
        ),
        (
            dictionary({"data": array(planes(TEST)).replace(b"M\x00\x0c\x86", b"J\xff\xff\xff\xff\x86")}),
            "without a shape",
        ),
    ],
)
def test_forged_pickles(content: bytes, words: str | None) -> None:
    if words is None:
        read_pickle(content, "x")
        return
    with pytest.raises(DatasetError, match=words):
        read_pickle(content, "x")


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_damaged_pickles_raise_one_kind_of_error() -> None:
    rng = np.random.default_rng(0)
    whole = dictionary({"labels": integers([1, 2]), "data": array(np.zeros((2, 10), np.uint8))})
    for _ in range(2000):
        content = bytearray(whole)
        for position in rng.integers(0, len(whole), rng.integers(1, 4)):
            content[position] = rng.integers(0, 256)
        with contextlib.suppress(DatasetError):
            read_pickle(bytes(content[: rng.integers(1, len(whole) + 1)] if rng.integers(2) else content), "x")


def test_a_pickle_takes_no_more_memory_than_its_file() -> None:
    with pytest.raises(DatasetError, match="numbers its 2th part 805306367; it is refused as a bomb"):
        read_pickle(b"\x80\x02}r\xff\xff\xff\x2f.", "x")  # Python would make room for so many
    text = b"X" + struct.pack("<i", 5000) + b"x" * 5000
    copies = b"cc_codecs\nencode\nh\x00\x85R"[1:] * 3
    with pytest.raises(DatasetError, match="copies its content again and again"):
        read_pickle(b"\x80\x02](" + text + b"q\x00" + copies + b"e.", "x")


@pytest.mark.parametrize("name", ["../test_batch", "c/../../test_batch", "/test_batch"])
def test_names_that_leave_the_archive(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(DatasetError, match=f"holds the unsafe name '{name}'; it is refused"):
        read_cifar(path, "test")
    assert [p.name for p in tmp_path.rglob("*")] == ["c.tar.gz"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(python10()["test_batch"])
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("c/test_batch")
        entry.type, entry.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(entry)
    with pytest.raises(DatasetError, match="found none of its files"):
        read_cifar(tmp_path / "c.tar.gz", "test")


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "c.tar.gz", "c", {"zeros": bytes(3_000_000)})
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(cifar, "_MAX_ARCHIVE", 2_000_000)
    with pytest.raises(DatasetError, match="decompresses to more than 2,000,000 bytes; it is refused as a bomb"):
        read_cifar(path)
    monkeypatch.setattr(cifar, "_MAX_MEMBER", 1000)
    for place in (tar(tmp_path / "d.tar.gz", "c", python10()), unpacked(tmp_path / "d", python10())):
        with pytest.raises(DatasetError, match=r"bytes, more than any file of CIFAR"):
            read_cifar(place, "test")


def test_a_member_that_comes_twice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a/test_batch"))
        archive.addfile(tarfile.TarInfo("b/test_batch"))
    with pytest.raises(DatasetError, match="holds test_batch twice"):
        read_cifar(tmp_path / "c.tar", "test")


def test_the_fixtures_speak_the_language_of_pickle() -> None:
    """Python's own module, with NumPy, reads what the fixtures write: they are no private dialect."""
    content = (
        python10()["data_batch_1"].replace(b"cnumpy.core.multiarray", b"cnumpy._core.multiarray")
        if int(np.__version__[0]) > 1
        else python10()["data_batch_1"]
    )
    batch = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], planes(TRAIN[:3]))
    assert pickle.loads(python10()["batches.meta"])["label_names"] == tiny_data.CIFAR10
