"""fetch(): from a publisher's server to a file that holds arrays, labels and preprocessing."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny
from loopback import Loopback, Step, serve

from npresnet import checkpoint, config, download, manifest
from npresnet.checkpoint.errors import CheckpointError
from npresnet.download import DownloadError
from npresnet.fetching import fetch, mirrored
from npresnet.image import ImageProcessor
from npresnet.labels import imagenet_labels
from npresnet.manifest import PublishedWeights


def torchvision_file(arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of a file with torchvision's names."""
    from safetensors.numpy import save

    return save({name: np.asarray(a) for name, a in checkpoint.from_canonical(arrays, "torchvision").items()})


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> PublishedWeights:
    """A tiny network, published on a server of its own; the fixture ``server`` mirrors it."""
    monkeypatch.setitem(config.PRESETS, "tiny", {**tiny.FIELDS, "num_labels": 1000})
    content = torchvision_file(tiny.arrays(num_labels=1000))
    entry = dataclasses.replace(
        manifest.MANIFEST["resnet50"],
        name="tiny",
        architecture="tiny",
        url="https://weights.invalid/models/tiny-1234.safetensors",
        sha256=hashlib.sha256(content).hexdigest()[:8],
    )
    monkeypatch.setitem(manifest._BY_ALIAS, "tiny", entry)
    return entry


@pytest.fixture
def server(entry: PublishedWeights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Loopback]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "BACKOFF", 0.001)
    monkeypatch.chdir(tmp_path)
    with serve() as loopback:
        loopback.files["/models/tiny-1234.safetensors"] = torchvision_file(tiny.arrays(num_labels=1000))
        monkeypatch.setenv("NPRESNET_MIRROR", loopback.url + "/")
        yield loopback


def names() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


def test_the_result_holds_arrays_labels_and_preprocessing(server: Loopback) -> None:
    path = fetch("tiny", "weights/tiny.npz")
    assert path == Path("weights/tiny.npz")
    assert names() == {"weights/tiny.npz"}
    found = checkpoint.read(path)
    assert found.naming == "transformers"
    assert list(found.config.id2label.values()) == list(imagenet_labels())
    assert found.config.depths == (1, 1)
    assert ImageProcessor.from_dict(found.preprocessing or {}) == ImageProcessor.torchvision(232)
    expected = tiny.arrays(num_labels=1000)
    assert found.arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)


def test_the_default_output_is_in_the_current_directory(
    server: Loopback, entry: PublishedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch("tiny") == Path("tiny.npz")
    monkeypatch.setitem(manifest._BY_ALIAS, "big/tiny", dataclasses.replace(entry, name="big/tiny"))
    assert fetch("big/tiny") == Path("big-tiny.npz")
    assert names() == {"tiny.npz", "big-tiny.npz"}


@pytest.mark.parametrize("output", ["tiny.safetensors", "tiny-hf"])
def test_other_formats(server: Loopback, output: str) -> None:
    assert checkpoint.read(fetch("tiny", output)).config.depths == (1, 1)


def test_unknown_names_and_formats_are_refused_before_the_download(server: Loopback) -> None:
    with pytest.raises(ValueError, match="did you mean resnet50"):
        fetch("resnet51")
    with pytest.raises(ValueError, match=r"cannot write a \.pth file"):
        fetch("tiny", "tiny.pth")
    with pytest.raises(ValueError, match="also the name of the original file"):
        fetch("tiny", "tiny-1234.safetensors")
    assert server.requests == []
    assert names() == set()


def test_an_existing_output_is_kept_unless_forced(server: Loopback) -> None:
    Path("tiny.npz").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="--force"):
        fetch("tiny")
    assert Path("tiny.npz").read_bytes() == b"precious"
    assert server.requests == []
    fetch("tiny", force=True)
    assert checkpoint.read("tiny.npz").config.depths == (1, 1)


def test_keep_leaves_the_original_and_uses_it_again(server: Loopback) -> None:
    fetch("tiny", keep=True)
    assert names() == {"tiny.npz", "tiny-1234.safetensors"}
    fetch("tiny", "again.npz", keep=True)
    assert len(server.requests) == 1
    Path("tiny-1234.safetensors").write_bytes(b"damaged")
    fetch("tiny", "third.npz")
    assert len(server.requests) == 2
    assert names() == {"tiny.npz", "again.npz", "third.npz"}


def test_an_interrupted_fetch_continues(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.steps.append(Step(cut=2000))
    with pytest.raises(DownloadError, match="run again to continue"):
        fetch("tiny")
    assert names() == {"tiny-1234.safetensors.part", "tiny-1234.safetensors.part.etag"}
    fetch("tiny")
    assert server.ranges_asked() == [None, "bytes=2000-"]
    assert names() == {"tiny.npz"}


def test_wrong_content_leaves_nothing(server: Loopback) -> None:
    server.files["/models/tiny-1234.safetensors"] = torchvision_file(tiny.arrays(num_labels=1000, embedding_size=5))
    with pytest.raises(DownloadError, match="not the published one"):
        fetch("tiny")
    assert names() == set()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>log in first</html>", "this is a web page"),
        (torchvision_file(tiny.arrays(num_labels=1000, embedding_size=5)), "expected shape"),
    ],
    ids=["not weights", "other weights"],
)
def test_without_a_hash_the_architecture_is_checked(
    server: Loopback, entry: PublishedWeights, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    monkeypatch.setitem(manifest._BY_ALIAS, "tiny", dataclasses.replace(entry, sha256=None))
    server.files["/models/tiny-1234.safetensors"] = content
    with pytest.raises(CheckpointError, match=words):
        fetch("tiny")
    assert names() == set()


def test_a_missing_file_names_its_address(server: Loopback) -> None:
    server.files.clear()
    with pytest.raises(DownloadError, match=f"{server.url}/models/tiny-1234.safetensors: there is no such file"):
        fetch("tiny")


def test_the_package_has_the_function() -> None:
    code = "import npresnet, npresnet.cli; from npresnet import fetch; print(npresnet.fetch is fetch, fetch.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True fetch\n"


def test_the_mirror_replaces_the_host_only(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    monkeypatch.delenv("NPRESNET_MIRROR", raising=False)
    assert mirrored(url) == url
    monkeypatch.setenv("NPRESNET_MIRROR", "http://mirror.example/weights/")
    expected = "http://mirror.example/weights/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    assert mirrored(url) == expected
