"""Writing: what is written can be read by others, and appears whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from resnet_arrays import resnet_shapes
from safetensors import safe_open
from safetensors.numpy import load_file

from npresnet.checkpoint import CheckpointError, read, read_raw, save_npz, save_safetensors, save_transformers, writer
from npresnet.checkpoint.atomic import atomic_write
from npresnet.config import ResNetConfig

CONFIG = ResNetConfig(
    embedding_size=4, hidden_sizes=(4, 8), depths=(1, 2), layer_type="basic", id2label={0: "cat", 1: "dög", 2: "owl"}
)
PREPROCESSING = {"size": {"shortest_edge": 64}, "crop_pct": 0.9}
SHAPES = resnet_shapes((1, 2), (4, 8), "basic", embedding_size=4, stem=((4, 7),), num_labels=3)
RNG = np.random.default_rng(23)
ARRAYS = {
    key: np.array(9, np.int64) if key.endswith("tracked") else RNG.standard_normal(shape).astype(np.float32)
    for key, shape in SHAPES.items()
}
SAVERS = {"npz": save_npz, "safetensors": save_safetensors, "directory": save_transformers}


def same(found, expected=ARRAYS):
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        assert found[key].shape == array.shape
        np.testing.assert_array_equal(found[key], array)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize("preprocessing", [None, PREPROCESSING])
def test_what_is_written_is_read(tmp_path, kind, preprocessing):
    SAVERS[kind](tmp_path / "model", ARRAYS, CONFIG, preprocessing)
    found = read(tmp_path / "model")
    same(found.arrays)
    assert found.config == CONFIG
    assert found.preprocessing == preprocessing
    assert found.naming == "transformers"


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_dtypes_survive(tmp_path, dtype):
    arrays = {key: array.astype(dtype) if array.dtype.kind == "f" else array for key, array in ARRAYS.items()}
    for kind, save in SAVERS.items():
        save(tmp_path / kind, arrays, CONFIG)
        same(read(tmp_path / kind).arrays, arrays)


def test_npz_is_plain(tmp_path):
    """NumPy alone reads it, without pickles; equal content gives equal bytes."""
    save_npz(tmp_path / "a.npz", ARRAYS, CONFIG, PREPROCESSING)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        found = dict(file)
    entry = json.loads(str(found.pop("__npresnet__")))
    same(found)
    assert entry == {"format": 1, "config": CONFIG.to_dict(), "preprocessing": PREPROCESSING}
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
    save_npz(tmp_path / "b.npz", ARRAYS, CONFIG, PREPROCESSING)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_npz_is_aligned(tmp_path):
    """The values of every array start at a multiple of 64 bytes, however long the name in front of them."""
    arrays = {"ö" * n + "x": RNG.standard_normal(n + 5).astype(np.float32) for n in range(80)}
    arrays |= {"long": RNG.standard_normal((3,) * 8), "scalar": np.array(RNG.standard_normal())}
    save_npz(tmp_path / "a.npz", arrays, CONFIG)
    written = (tmp_path / "a.npz").read_bytes()
    for array in arrays.values():
        assert written.count(array.tobytes()) == 1
        assert written.index(array.tobytes()) % 64 == 0
    with np.load(tmp_path / "a.npz") as file:
        same({key: file[key] for key in arrays}, arrays)
    same(read_raw(tmp_path / "a.npz").arrays, arrays)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None


def test_safetensors_is_plain(tmp_path):
    save_safetensors(tmp_path / "a", ARRAYS, CONFIG)
    same(load_file(tmp_path / "a"))
    with safe_open(tmp_path / "a", "numpy") as file:
        assert file.metadata()["format"] == "pt"


def test_directory_is_that_of_transformers(tmp_path):
    save_transformers(tmp_path / "a", ARRAYS, CONFIG, PREPROCESSING)
    assert content(tmp_path / "a").keys() == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert json.loads((tmp_path / "a/config.json").read_text("utf-8")) == json.loads(json.dumps(CONFIG.to_dict()))
    with safe_open(tmp_path / "a/model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_arrays_of_any_layout(tmp_path):
    """Transposed, big-endian, sliced and read-only arrays are written as what they show."""
    odd = {key: np.array(array, array.dtype.newbyteorder(">"), order="F") for key, array in ARRAYS.items()}
    odd["classifier.1.bias"] = np.repeat(ARRAYS["classifier.1.bias"], 2)[::2]
    odd["classifier.1.bias"].flags.writeable = False
    for kind, save in SAVERS.items():
        save(tmp_path / kind, odd, CONFIG)
        same(read(tmp_path / kind).arrays)
    with np.load(tmp_path / "npz") as file:
        assert all(file[key].dtype.isnative for key in file)


def test_missing_counters_are_added_for_transformers(tmp_path):
    arrays = {key: array for key, array in ARRAYS.items() if not key.endswith("tracked")}
    save_transformers(tmp_path / "a", arrays, CONFIG)
    same(
        load_file(tmp_path / "a/model.safetensors"),
        {key: np.zeros((), np.int64) if key.endswith("tracked") else array for key, array in ARRAYS.items()},
    )


def test_warning_for_what_transformers_lacks(tmp_path):
    with pytest.warns(UserWarning, match=r"no batch_norm_eps=0.5: npresnet reads .* Transformers would compute"):
        save_transformers(tmp_path / "a", ARRAYS, CONFIG.replace(batch_norm_eps=0.5))
    assert read(tmp_path / "a").config.batch_norm_eps == 0.5


@pytest.mark.parametrize("bad", [np.array(["x"]), np.array([None]), np.zeros(2, np.complex64)])
@pytest.mark.parametrize("kind", SAVERS)
def test_arrays_that_cannot_be_written(tmp_path, kind, bad):
    with pytest.raises(CheckpointError, match="array 'x' has dtype"):
        SAVERS[kind](tmp_path / "a", {"x": bad}, CONFIG)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", SAVERS)
def test_missing_parent(tmp_path, kind):
    with pytest.raises(FileNotFoundError, match=r"directory .*nowhere does not exist; create it first"):
        SAVERS[kind](tmp_path / "nowhere/model", ARRAYS, CONFIG)


def test_file_and_directory_confused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for save in (save_npz, save_safetensors):
        with pytest.raises(CheckpointError, match="is a directory"):
            save(tmp_path / "folder", ARRAYS, CONFIG)
    with pytest.raises(CheckpointError, match="is a file; expected a directory"):
        save_transformers(tmp_path / "file", ARRAYS, CONFIG)


# Whole or not at all


def failing(monkeypatch, kind, error):
    """Let the disk fill, or Ctrl-C come, in the middle of the arrays."""
    if kind == "npz":
        write, calls = np.lib.format.write_array, []

        def write_array(*arguments, **options):
            calls.append(1)
            if len(calls) > 3:
                raise error
            write(*arguments, **options)

        monkeypatch.setattr(np.lib.format, "write_array", write_array)
    else:

        def write_half(path, arrays, metadata):
            path.write_bytes(b"half")
            raise error

        monkeypatch.setattr(writer, "_write_safetensors", write_half)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, kind, error, existing):
    if existing:
        SAVERS[kind](tmp_path / "model", ARRAYS, CONFIG, PREPROCESSING)
    before = content(tmp_path)
    failing(monkeypatch, kind, error)
    with pytest.raises(type(error)):
        SAVERS[kind](tmp_path / "model", {"x": np.ones(3)} | ARRAYS, CONFIG.replace(depths=(1, 1)))
    assert content(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == int(existing)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_at_the_last_step(tmp_path, monkeypatch, step):
    (tmp_path / "a").write_text("old")

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="Input/output"), atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert content(tmp_path) == {"a": b"old"}


def test_content_reaches_the_disk_before_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("replace"), replace(*paths)))
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a").exists()
    assert events == ["fsync", "replace", "fsync"]


def test_weights_are_replaced_last(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    order = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append(Path(new).name), replace(old, new)))
    save_transformers(tmp_path / "a", ARRAYS, CONFIG, PREPROCESSING)
    assert sorted(order) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert order[-1] == "model.safetensors"


def test_preprocessing_of_an_earlier_checkpoint_does_not_stay(tmp_path):
    save_transformers(tmp_path / "a", ARRAYS, CONFIG, PREPROCESSING)
    (tmp_path / "a/notes.txt").touch()
    save_transformers(tmp_path / "a", ARRAYS, CONFIG)
    assert content(tmp_path / "a").keys() == {"config.json", "model.safetensors", "notes.txt"}
    assert read_raw(tmp_path / "a").preprocessing is None


def test_permissions(tmp_path):
    mask = os.umask(0o027)
    try:
        for save in (save_npz, save_safetensors):
            save(tmp_path / "new", ARRAYS, CONFIG)
            assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
            (tmp_path / "new").chmod(0o604)
            save(tmp_path / "new", ARRAYS, CONFIG)
            assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604
            (tmp_path / "new").unlink()
    finally:
        os.umask(mask)


def test_symbolic_links_stay(tmp_path):
    (tmp_path / "real").mkdir()
    save_npz(tmp_path / "real/a.npz", ARRAYS, CONFIG)
    (tmp_path / "link.npz").symlink_to(tmp_path / "real/a.npz")
    save_npz(tmp_path / "link.npz", ARRAYS, CONFIG, PREPROCESSING)
    assert (tmp_path / "link.npz").is_symlink()
    assert read_raw(tmp_path / "real/a.npz").preprocessing == PREPROCESSING


def test_overwriting_what_is_being_looked_at(tmp_path):
    """The arrays of a checkpoint look into its file; saving over it must not change them."""
    save_safetensors(tmp_path / "a", ARRAYS, CONFIG)
    found = read(tmp_path / "a").arrays
    save_safetensors(tmp_path / "a", {key: array * 0 for key, array in found.items()}, CONFIG)
    same(found)
