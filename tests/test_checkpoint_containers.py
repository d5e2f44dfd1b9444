"""``.npz``, safetensors and directories: read from files that other programs wrote, or made by hand to be refused."""

from __future__ import annotations

import json
import struct

import checkpoint_files as files
import numpy as np
import pytest
from safetensors.numpy import save_file

from npresnet.checkpoint import CheckpointError, read_raw
from npresnet.image import ImageProcessor

RNG = np.random.default_rng(21)
ARRAYS = {
    "conv1.weight": RNG.standard_normal((3, 4, 2, 2)).astype(np.float32),
    "bn1.bias": RNG.standard_normal(3).astype(np.float16),
    "fc.weight": RNG.standard_normal((2, 3)),
    "bn1.num_batches_tracked": np.array(5, np.int64),
}
CONFIG = {"model_type": "resnet", "depths": [1]}


def check(found, expected=ARRAYS):
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        assert found[key].flags.c_contiguous
        np.testing.assert_array_equal(found[key], array)


def refused(path, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        read_raw(path)
    assert str(path) in str(caught.value)


# .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_numpy(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    check(read_raw(tmp_path / "a.npz").arrays)


def test_npz_layouts(tmp_path):
    """Fortran order and big-endian numbers come out like everything else; the prefix of DataParallel goes."""
    array = ARRAYS["fc.weight"]
    np.savez(tmp_path / "a.npz", **{"module.f": np.asfortranarray(array), "module.b": array.astype(">f8")})
    check(read_raw(tmp_path / "a.npz").arrays, {"f": array, "b": array})


def npy(header: str, content: bytes = b"", version=(1, 0)) -> bytes:
    layout = "<H" if version[0] == 1 else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(layout, len(header)) + header.encode() + content


def header(descr="'<f4'", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    ("record", "match"),
    [
        (npy(header("'|O'", "()"), b"cos\nsystem\n"), "pickled Python objects"),
        (npy(header("[('a', '|O')]", "()"), b"cos\nsystem\n"), "not a plain array"),
        (npy(header("[('a', '<f4')]"), bytes(8)), "not a plain array"),
        (npy(header("'<f3'"), bytes(6)), "damaged"),
        (npy(header("'<c8'"), bytes(16)), "expected float, integer"),
        (npy(header("'<U2'"), bytes(16)), "expected float, integer"),
        (npy(header(shape="(3,)"), bytes(8)), "needs 12 bytes, its record holds 8"),
        (npy(header(shape="(2**60,)"), bytes(8)), "not a plain array"),
        (npy(header(shape="(-2,)"), bytes(8)), "not a plain array"),
        (npy(header(shape="(1000000000000,)"), bytes(8)), "needs 4,000,000,000,000"),
        (npy(header(shape="(" + "1, " * 33 + ")"), bytes(4)), "not a plain array"),
        (npy(header("__import__('os').system('touch EXECUTED')"), bytes(8)), "not a plain array"),
        (npy(header(shape="(" + "1" * 5000 + ")"), bytes(4)), "not a plain array"),
        (npy("(" * 5000), "not a plain array"),
        (npy("x" * 11_000), "at most 10,000"),
        (b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1), "at most 10,000"),
        (npy(header(), bytes(8), (3, 0)), "version 3.0"),
        (npy(header())[:20], "cut short"),
        (b"", "not a .npy array"),
        (b"\x80\x02N.", "not a .npy array"),
    ],
)
def test_npz_refusals(tmp_path, record, match):
    files.write_zip(tmp_path / "a.npz", {"x.npy": record})
    refused(tmp_path / "a.npz", match)


def test_npz_with_other_records(tmp_path):
    files.write_zip(tmp_path / "a.npz", {"x.npy": npy(header(), bytes(8)), "y.pkl": b"cos\nsystem\n"})
    refused(tmp_path / "a.npz", "neither of PyTorch nor an .npz")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"format": 2}', "upgrade npresnet"),
        ('{"format": "1"}', "must state its format"),
        ('{"format": 1, "config": []}', "'config' .* must be an object"),
        ('{"format": 1, "format": 1}', "appears twice"),
        ("[1]", "must be a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ("{", "not valid JSON"),
    ],
)
def test_metadata_refusals(tmp_path, text, match):
    np.savez(tmp_path / "a.npz", x=ARRAYS["fc.weight"], __npresnet__=np.array(text))
    refused(tmp_path / "a.npz", match)


def test_metadata_that_is_no_string(tmp_path):
    np.savez(tmp_path / "a.npz", x=ARRAYS["fc.weight"], __npresnet__=np.zeros(3))
    refused(tmp_path / "a.npz", "must be one string")


# safetensors


def test_safetensors_of_the_package(tmp_path):
    save_file(ARRAYS, tmp_path / "a", {"format": "pt"})
    raw = read_raw(tmp_path / "a")
    check(raw.arrays)
    assert raw.config is None


def safetensors(entries: dict | str, content: bytes) -> bytes:
    text = (entries if isinstance(entries, str) else json.dumps(entries)).encode()
    return struct.pack("<Q", len(text)) + text + content


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def test_safetensors_bfloat16(tmp_path):
    values = np.array([1.5, -2.0], np.float32)
    content = files.bfloat16(values).tobytes()
    (tmp_path / "a").write_bytes(safetensors({"x": entry("BF16", offsets=(0, 4))}, content))
    check(read_raw(tmp_path / "a").arrays, {"x": values})


@pytest.mark.parametrize(
    ("entries", "content", "match"),
    [
        ({"x": entry(offsets=(0, 9))}, 9, "needs 8 bytes"),
        ({"x": entry(offsets=(1, 9))}, 9, "starts at byte 1"),
        ({"x": entry(), "y": entry(offsets=(4, 12))}, 12, "starts at byte 4"),
        ({"x": entry(), "y": entry(offsets=(12, 20))}, 20, "starts at byte 12"),
        ({"x": entry()}, 7, "cut short"),
        ({"x": entry()}, 9, "cut short or damaged"),
        ({"x": entry(shape=(2**62, 2**62))}, 8, "needs"),
        ({"x": entry(shape=(-2,))}, 8, "malformed"),
        ({"x": entry(shape=(True, 2))}, 8, "malformed"),
        ({"x": entry(offsets=(-8, 0))}, 8, "malformed"),
        ({"x": entry(offsets=(0, 8, 8))}, 8, "3 data_offsets"),
        ({"x": entry(shape=(1,) * 40, offsets=(0, 4))}, 4, "40 dimensions"),
        ({"x": entry("F8_E4M3", offsets=(0, 2))}, 2, "dtype 'F8_E4M3'"),
        ({"x": entry(more=1)}, 8, "must have a dtype"),
        ({"x": []}, 0, "must have a dtype"),
        ({"__metadata__": {"a": 1}}, 0, "strings to strings"),
        ('{"x": 1, "x": 2}', 0, "'x' appears twice"),
        ("{" * 30, 0, "not valid JSON"),
    ],
)
def test_safetensors_refusals(tmp_path, entries, content, match):
    (tmp_path / "a").write_bytes(safetensors(entries, bytes(content)))
    refused(tmp_path / "a", match)


def test_safetensors_damage(tmp_path):
    save_file(ARRAYS, tmp_path / "a")
    content = np.frombuffer((tmp_path / "a").read_bytes(), np.uint8)
    for size in range(0, len(content), 7):
        (tmp_path / "b").write_bytes(content[:size].tobytes())
        refused(tmp_path / "b", None)
    rng = np.random.default_rng(3)
    for _ in range(300):
        damaged = content.copy()
        damaged[rng.integers(0, 300)] = rng.integers(0, 256)
        (tmp_path / "b").write_bytes(damaged.tobytes())
        try:
            read_raw(tmp_path / "b")
        except CheckpointError as error:
            assert str(tmp_path / "b") in str(error)  # noqa: PT017 -- both outcomes are allowed


# Directories


FITTING = {key: "one" if i < 2 else "two" for i, key in enumerate(ARRAYS)}


def write_json(path, values):
    path.write_text(json.dumps(values), encoding="utf-8")


def shards(folder, weight_map, suffix="safetensors"):
    """Write the two halves of ARRAYS as shards, and the index given."""
    for name in ("one", "two"):
        half = {key: ARRAYS[key] for key in ARRAYS if FITTING[key] == name}
        if suffix == "safetensors":
            save_file(half, folder / name)
        else:
            files.arrays_zip(folder / name, half)
    stem = "model.safetensors" if suffix == "safetensors" else "pytorch_model.bin"
    write_json(folder / f"{stem}.index.json", {"metadata": {"total_size": 1}, "weight_map": weight_map})
    return folder / f"{stem}.index.json"


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards(tmp_path, suffix):
    index = shards(tmp_path, FITTING, suffix)
    write_json(tmp_path / "config.json", CONFIG)
    for path in (tmp_path, index):
        raw = read_raw(path)
        check(raw.arrays)
        assert raw.config == CONFIG
        assert raw.preprocessing is None


@pytest.mark.parametrize(
    ("weight_map", "match"),
    [
        (FITTING | {"fc.weight": "../two"}, "'../two', which is not a file in its own"),
        (FITTING | {"fc.weight": "/etc/passwd"}, "not a file in its own"),
        (FITTING | {"fc.weight": "a\\two"}, "not a file in its own"),
        (FITTING | {"fc.weight": ".."}, "not a file in its own|missing"),
        (FITTING | {"fc.weight": ""}, "not a file in its own"),
        (FITTING | {"fc.weight": "three"}, "'three', which is missing"),
        (FITTING | {"fc.weight": "one"}, r"shard 'one' disagree: the shard lacks \['fc.weight'\]"),
        ({k: v for k, v in FITTING.items() if k != "fc.weight"}, r"in excess \['fc.weight'\]"),
        (FITTING | {"more": "two"}, r"lacks \['more'\]"),
        ({}, "weight_map"),
        ([], "weight_map"),
        ({"x": 1}, "weight_map"),
    ],
)
def test_index_refusals(tmp_path, weight_map, match):
    shards(tmp_path, weight_map)
    refused(tmp_path, match)


def test_a_damaged_shard_is_named(tmp_path):
    shards(tmp_path, FITTING)
    (tmp_path / "two").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError) as caught:
        read_raw(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'two'}: the format is not known")


def test_directory_with_everything(tmp_path):
    save_file(ARRAYS, tmp_path / "model.safetensors")
    files.arrays_zip(tmp_path / "pytorch_model.bin", {"other": ARRAYS["fc.weight"]})
    write_json(tmp_path / "config.json", CONFIG)
    write_json(tmp_path / "preprocessor_config.json", {"size": 7})
    for path in (tmp_path, tmp_path / "model.safetensors"):
        raw = read_raw(path)
        check(raw.arrays)
        assert (raw.config, raw.preprocessing) == (CONFIG, {"size": 7})
    assert list(read_raw(tmp_path / "pytorch_model.bin").arrays) == ["other"]
    (tmp_path / "model.safetensors").rename(tmp_path / "mine.safetensors")
    assert read_raw(tmp_path / "mine.safetensors").config is None  # a file of its own name stands alone


def test_directory_of_timm(tmp_path):
    save_file(ARRAYS, tmp_path / "model.safetensors")
    recipe = {
        "input_size": [3, 288, 288], "interpolation": "bilinear", "crop_pct": 0.9,
        "mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3], "first_conv": "conv1",
    }  # fmt: skip
    write_json(tmp_path / "config.json", {"architecture": "resnet18", "num_classes": 2, "pretrained_cfg": recipe})
    raw = read_raw(tmp_path)
    assert raw.config is None
    processor = ImageProcessor.from_dict(raw.preprocessing)
    assert processor == ImageProcessor.timm(288, 0.9, resample=2, image_mean=(0.5, 0.4, 0.3), image_std=(0.1, 0.2, 0.3))


def test_directory_with_one_file_of_another_name(tmp_path):
    np.savez(tmp_path / "weights.npz", **ARRAYS)
    check(read_raw(tmp_path).arrays)
    files.arrays_zip(tmp_path / "more.pth", ARRAYS)
    refused(tmp_path, r"2 files of weights \(more.pth, weights.npz\)")


def test_directory_without_weights(tmp_path):
    write_json(tmp_path / "config.json", CONFIG)
    refused(tmp_path, "no weights; expected model.safetensors")


def test_bad_json_is_named(tmp_path):
    save_file(ARRAYS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError) as caught:
        read_raw(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}: the file is not valid JSON")


# Everything else


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n<html>", "web page"),
        (b"\x93NUMPY\1\0", "np.savez"),
        (b"\x1f\x8b\x08", "gzip"),
        (files.pickled(b"}"), "plain Python pickle"),
        (b"cos\nsystem\n(S'touch EXECUTED'\ntR.", "not known: the file starts with b'cos"),
        (b"PK\3\4", "cut short"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "damaged"),
        (b"hello, world", "not known"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, match):
    (tmp_path / "weights.npz").write_bytes(content)
    refused(tmp_path / "weights.npz", match)


def test_keras_archive(tmp_path):
    files.write_zip(tmp_path / "a.keras", {"config.json": b"{}", "model.weights.h5": b""})
    refused(tmp_path / "a.keras", "save_weights")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nowhere.npz; check the path"):
        read_raw(tmp_path / "nowhere.npz")


def test_arrays_look_into_the_file(tmp_path):
    """Reading takes no memory of its own, and nothing can be written back."""
    save_file(ARRAYS, tmp_path / "a")
    array = read_raw(tmp_path / "a").arrays["conv1.weight"]
    assert not array.flags.owndata
    assert not array.flags.writeable
