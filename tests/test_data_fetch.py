"""``npresnet fetch`` of data sets, from a server on the loopback interface."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_data
from loopback import Loopback, Step, serve
from tiny import run
from tiny_data import noise

from npresnet import download
from npresnet.download import DownloadError
from npresnet.train.data import PUBLISHED, open_dataset, published
from npresnet.train.data.fetching import fetch_dataset
from npresnet.train.data.published import PublishedDataset, PublishedFile, find_published

LABELS = [2, 0, 1]


def publish(name: str, contents: dict[str, bytes]) -> PublishedDataset:
    """The entry of a data set, with the files' true hashes."""
    files = tuple(
        PublishedFile(
            f"https://data.invalid/sets/{file}", hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
        )
        for file, content in contents.items()
    )
    return dataclasses.replace(PUBLISHED[name], files=files)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Loopback]:
    """Tiny stand-ins for two data sets on a mirror."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NPRESNET_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "BACKOFF", 0.001)
    monkeypatch.chdir(tmp_path)
    images = noise(3, 28, 28)
    folder = tiny_data.mnist(tmp_path / "source", (images, LABELS), (images[:1], LABELS[:1]))
    mnist = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    files = tiny_data.cifar10_python(noise(5, 32, 32, 3), noise(2, 32, 32, 3), [1, 2, 3, 4, 5], [6, 7])
    cifar = {"cifar-10-python.tar.gz": tiny_data.tar(tmp_path / "c.tar.gz", "cifar-10-batches-py", files).read_bytes()}
    monkeypatch.setattr(published, "_TABLE", (publish("cifar10", cifar), publish("fashion-mnist", mnist)))
    with serve() as loopback:
        loopback.files = {f"/sets/{name}": content for name, content in {**mnist, **cifar}.items()}
        monkeypatch.setenv("NPRESNET_MIRROR", loopback.url)
        yield loopback


def test_a_data_set_arrives_and_opens(server: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "fetch", "cifar10") == (0, "cifar10\n", "")
    assert [path.name for path in Path("cifar10").iterdir()] == ["cifar-10-python.tar.gz"]
    assert open_dataset("cifar10", "test").labels.tolist() == [6, 7]
    assert run(capsys, "fetch", "Fashion_MNIST", "-o", "data/clothes", "--quiet") == (0, "data/clothes\n", "")
    dataset = open_dataset("data/clothes")
    assert dataset.labels.tolist() == LABELS
    np.testing.assert_array_equal(dataset.image(2), noise(3, 28, 28)[2][..., None])


def test_what_is_there_is_not_fetched_again(server: Loopback) -> None:
    fetch_dataset("fashion-mnist")
    assert len(server.requests) == 4
    labels = Path("fashion-mnist/train-labels-idx1-ubyte.gz")
    labels.unlink()
    fetch_dataset("fashion-mnist")
    assert [path for path, _ in server.requests[4:]] == ["/sets/train-labels-idx1-ubyte.gz"]
    labels.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"train-labels.* is not the published file; move it, .*--force"):
        fetch_dataset("fashion-mnist")
    assert labels.read_bytes() == b"mine"
    assert len(server.requests) == 5
    fetch_dataset("fashion-mnist", force=True)
    assert len(server.requests) == 6
    assert len(open_dataset("fashion-mnist")) == 3


def test_an_interrupted_fetch_continues(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.steps.append(Step(cut=500))
    with pytest.raises(DownloadError, match="run again to continue"):
        fetch_dataset("cifar10")
    fetch_dataset("cifar10")
    assert server.ranges_asked() == [None, "bytes=500-"]
    assert len(open_dataset("cifar10")) == 5


def test_other_content_is_refused(server: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    server.files["/sets/cifar-10-python.tar.gz"] = b"something else"
    status, out, err = run(capsys, "fetch", "cifar10")
    assert (status, out) == (1, "")
    assert "the content is not the published one: its SHA-256 is" in err
    assert list(Path("cifar10").iterdir()) == []


def test_the_publishers_md5_is_checked_as_well(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = published._TABLE[0]
    wrong = dataclasses.replace(entry, files=(dataclasses.replace(entry.files[0], md5="0" * 32),))
    monkeypatch.setattr(published, "_TABLE", (wrong,))
    with pytest.raises(DownloadError, match=r"its MD5 is [0-9a-f]{32}, the publisher's 0{32}; the file was removed"):
        fetch_dataset("cifar10")
    assert list(Path("cifar10").iterdir()) == []


def test_mistakes(server: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    for argv, words in [
        (("cifar10", "--keep"), "--keep belongs to weights"),
        (("cifar10", "-o", "file"), "file is a file; expected the folder that CIFAR-10 is to be put into"),
        (("cifar1",), "Did you mean the data set cifar10?"),
        (("resnet51",), "did you mean resnet50"),
    ]:
        status, out, err = run(capsys, "fetch", *argv)
        assert (status, out) == (1, "")
        assert words in err
    with pytest.raises(ValueError, match="no published data set is called 'imagenet'; there are cifar10, cifar100, "):
        fetch_dataset("imagenet")
    assert server.requests == []


def test_the_list_shows_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "fetch", "--list")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["cifar100"] == ["32", "x", "32", "RGB", "50000", "10000", "100", "161.2"]
    assert rows["mnist"] == ["28", "x", "28", "grey", "60000", "10000", "10", "11.1"]
    assert "resnet50" in rows


def test_the_manifest_is_complete() -> None:
    """The checksums that the publishers state; every address is protected by https or by its checksum."""
    md5 = {
        file.name if len(entry.files) == 1 else f"{entry.name} {file.name}": file.md5
        for entry in PUBLISHED.values()
        for file in entry.files
    }
    assert md5["cifar-10-python.tar.gz"] == "c58f30108f718f92721af3b95e74349a"
    assert md5["cifar-100-python.tar.gz"] == "eb9058c3a382ffc7106e4002c42a8d85"
    assert md5["fashion-mnist t10k-images-idx3-ubyte.gz"] == "bef4ecab320f06d8554ea6380940ec79"
    assert md5["mnist train-images-idx3-ubyte.gz"] == "f68b3c2dcbeaaa9fbdd348bbdeb94873"
    assert len(md5) == 10
    files = [file for entry in PUBLISHED.values() for file in entry.files]
    assert all(file.url.startswith("https://") for file in files)
    assert all(len(file.md5) == 32 and len(file.sha256) == 64 for file in files)
    assert len({file.sha256 for file in files}) == len({file.md5 for file in files}) == 10


@pytest.mark.parametrize("name", ["CIFAR-10", "cifar_10", "cifar10"])
def test_spellings(name: str) -> None:
    assert find_published(name) is PUBLISHED["cifar10"]
    assert find_published("resnet50") is None
