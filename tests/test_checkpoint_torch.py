"""PyTorch's three formats, read from files made by hand; the expected arrays are those that went in."""

from __future__ import annotations

import struct
import zipfile

import checkpoint_files as files
import numpy as np
import pytest
from checkpoint_files import call, contiguous, mapping, name, named, number, sizes, storage, tensor, tensor_of, text

from npresnet.checkpoint import CheckpointError, read_raw

RNG = np.random.default_rng(20)
WEIGHT = RNG.standard_normal((3, 4, 2, 2)).astype(np.float32)
BIAS = RNG.standard_normal(5).astype(np.float32)
COUNTER = np.array(7, np.int64)
ARRAYS = {"conv1.weight": WEIGHT, "fc.bias": BIAS, "bn1.num_batches_tracked": COUNTER}


def check(found, expected):
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert isinstance(found[key], np.ndarray)
        assert found[key].dtype == array.dtype
        np.testing.assert_array_equal(found[key], array)


def legacy_body(arrays, more=files.NONE):
    return named({key: tensor_of(key, array, more) for key, array in arrays.items()})


@pytest.mark.parametrize("kind", ["zip", "legacy", "tar"])
def test_every_format_gives_the_arrays_back(tmp_path, kind):
    path = tmp_path / "weights.anything"  # the extension must not matter
    if kind == "zip":
        files.arrays_zip(path, ARRAYS)
    elif kind == "legacy":
        files.torch_legacy(path, legacy_body(ARRAYS), ARRAYS)
    else:
        files.write_tar(path, files.tar_members(ARRAYS))
    raw = read_raw(path)
    check(raw.arrays, ARRAYS)
    assert raw.config is None
    assert raw.preprocessing is None
    assert all(array.flags.c_contiguous and array.flags.aligned for array in raw.arrays.values())


@pytest.mark.parametrize("dtype", ["float16", "float64", "bool", "uint8", "int8", "int16", "int32", "int64"])
def test_dtypes_are_kept(tmp_path, dtype):
    array = RNG.integers(0, 2, (2, 3)).astype(dtype)
    check(read_raw(files.arrays_zip(tmp_path / "a", {"x": array})).arrays, {"x": array})


def test_bfloat16_becomes_float32(tmp_path):
    exact = np.array([1.5, -2.0, 0.0, 3.0e38], np.float32)
    exact = (exact.view(np.uint32) & 0xFFFF0000).view(np.float32)
    arrays = {"x": exact, "scalar": exact[1].reshape(())}
    path = files.arrays_zip(tmp_path / "a", {key: files.bfloat16(array) for key, array in arrays.items()})
    check(read_raw(path).arrays, arrays)


def test_untyped_storage_with_a_dtype(tmp_path):
    array = np.arange(6, dtype=np.uint16)
    stored = files.values(text("storage"), name("torch.storage", "UntypedStorage"), text("0"), text("cpu"), number(12))
    rebuild = name("torch._utils", "_rebuild_tensor_v3")
    arguments = [
        stored + b"Q",
        number(2),
        sizes(2, 2),
        sizes(2, 1),
        files.FALSE,
        files.NO_HOOKS,
        name("torch", "uint16"),
    ]
    path = files.torch_zip(tmp_path / "a", named({"x": call(rebuild, *arguments)}), {"0": array.tobytes()})
    check(read_raw(path).arrays, {"x": array[2:].reshape(2, 2)})


def test_views_share_a_storage(tmp_path):
    """Offsets, channels-last strides, a transpose and an expanded scalar, all on one storage."""
    flat = RNG.standard_normal(48).astype(np.float32)
    stored = storage("0", "float32", 48)
    body = named({
        "tail": tensor(stored, 40, (2, 3), (3, 1)),
        "nhwc": tensor(stored, 0, (2, 3, 2, 4), (24, 1, 12, 3)),
        "transposed": tensor(stored, 1, (4, 5), (1, 4)),
        "expanded": tensor(stored, 7, (3, 2), (0, 0)),
        "scalar": tensor(stored, 5, (), ()),
        "empty": tensor(stored, 48, (0, 3), (3, 1)),
    })  # fmt: skip
    found = read_raw(files.torch_zip(tmp_path / "a", body, {"0": flat.tobytes()})).arrays
    check(found, {
        "tail": flat[40:46].reshape(2, 3),
        "nhwc": flat.reshape(2, 2, 4, 3).transpose(0, 3, 1, 2),
        "transposed": flat[1:21].reshape(5, 4).T,
        "expanded": np.full((3, 2), flat[7]),
        "scalar": flat[5].reshape(()),
        "empty": np.zeros((0, 3), np.float32),
    })  # fmt: skip
    assert all(array.flags.c_contiguous for array in found.values())


def test_big_endian(tmp_path):
    body = named({"x": tensor_of("0", WEIGHT)})
    path = files.torch_zip(tmp_path / "a", body, {"0": WEIGHT.astype(">f4").tobytes()}, byteorder=b"big")
    check(read_raw(path).arrays, {"x": WEIGHT})
    path = files.torch_zip(tmp_path / "b", body, {"0": WEIGHT.tobytes()}, byteorder=b"middle")
    with pytest.raises(CheckpointError, match="must say little or big, found b'middle'"):
        read_raw(path)


def test_parameters(tmp_path):
    plain = tensor_of("0", BIAS)
    cls = name("torch.nn.parameter", "Parameter")
    body = named({
        "rebuilt": call(name("torch._utils", "_rebuild_parameter"), plain, files.TRUE, files.NO_HOOKS),
        "stateful": call(
            name("torch._utils", "_rebuild_parameter_with_state"), plain, files.TRUE, files.NO_HOOKS, files.EMPTY_DICT
        ),
        "of 2017": cls + files.values(plain) + b"\x81" + files.values(files.TRUE, files.FALSE, files.NO_HOOKS) + b"b",
    })  # fmt: skip
    path = files.torch_zip(tmp_path / "a", body, {"0": BIAS.tobytes()})
    check(read_raw(path).arrays, dict.fromkeys(("rebuilt", "stateful", "of 2017"), BIAS))


def test_lazily_negated_tensors_are_refused(tmp_path):
    """The stored numbers have the wrong sign: reading them would be silently wrong."""
    arguments = [storage("0", "float32", 5), number(0), sizes(5), sizes(1), files.FALSE, files.NO_HOOKS]
    body = named({"x": call(name("torch._utils", "_rebuild_tensor_v2"), *arguments, mapping(neg=files.TRUE))})
    with pytest.raises(CheckpointError, match="negative or conjugate"):
        read_raw(files.torch_zip(tmp_path / "a", body, {"0": BIAS.tobytes()}))


def test_pickle_protocol_4(tmp_path):
    """torch.save(..., pickle_protocol=4): frames, STACK_GLOBAL, MEMOIZE, short strings."""
    ordered = b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94"
    body = b"\x95" + struct.pack("<Q", 0) + ordered + b"(\x8c\x01x" + tensor_of("0", BIAS) + b"u"
    path = files.write_zip(tmp_path / "a", {"m/data.pkl": files.pickled(body, protocol=4), "m/data/0": BIAS.tobytes()})
    check(read_raw(path).arrays, {"x": BIAS})


def test_trainers_leave_more_than_tensors(tmp_path):
    """Scores, arguments, optimizer states and NumPy scalars pass without being built."""
    dtype = (
        call(name("numpy", "dtype"), text("f8"), files.FALSE, files.TRUE) + files.values(number(3), text("<")) + b"b"
    )
    encoded = call(name("_codecs", "encode"), text("\0" * 8), text("latin1"))
    body = mapping(
        epoch=number(3), arch=text("r18"), best_prec1=number(91.78), nothing=files.NONE, flags=files.listed(files.TRUE),
        score=call(name("numpy.core.multiarray", "scalar"), dtype, encoded),
        args=name("argparse", "Namespace") + b")\x81" + mapping(lr=number(0.1)) + b"b",
        optimizer=mapping(state=b"}(" + number(0) + mapping(momentum_buffer=tensor_of("0", BIAS)) + b"u"),
        device=call(name("torch", "device"), text("cpu")), dtype=name("torch", "float32"),
        history=call(name("collections", "defaultdict"), name("__builtin__", "dict")),
        state_dict=named({"module.fc.bias": tensor_of("0", BIAS)}),
    )  # fmt: skip
    check(read_raw(files.torch_zip(tmp_path / "a", body, {"0": BIAS.tobytes()})).arrays, {"fc.bias": BIAS})


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (lambda raw, ema: mapping(model=raw, model_ema=ema), 1),
        (lambda raw, ema: mapping(state_dict=raw, state_dict_ema=ema), 1),
        (lambda raw, ema: mapping(state_dict=raw, state_dict_ema=files.NONE), 0),
        (lambda raw, ema: mapping(state_dict=raw, ema=mapping(decay=number(0.9))), 0),
        (lambda raw, ema: mapping(ema=mapping(state_dict=ema), model=raw), 1),
        (lambda raw, ema: mapping(net=raw, epoch=number(1)), 0),
        (lambda raw, ema: mapping(weights=mapping(model=raw)), 0),
        (lambda raw, ema: mapping(best_acc1=ema, state_dict=raw), 0),
    ],
)
def test_wrappers(tmp_path, wrap, expected):
    body = wrap(named({"_orig_mod.module.x": tensor_of("0", BIAS)}), named({"module.x": tensor_of("1", -BIAS)}))
    path = files.torch_zip(tmp_path / "a", body, {"0": BIAS.tobytes(), "1": (-BIAS).tobytes()})
    check(read_raw(path).arrays, {"x": (BIAS, -BIAS)[expected]})


def test_averaged_model_counter_is_dropped(tmp_path):
    path = files.arrays_zip(tmp_path / "a", {"n_averaged": COUNTER, "module.x": BIAS})
    check(read_raw(path).arrays, {"x": BIAS})


def test_two_names_that_become_one(tmp_path):
    path = files.arrays_zip(tmp_path / "a", {"module.x": BIAS, "x": BIAS})
    with pytest.raises(CheckpointError, match="two arrays are named 'x'"):
        read_raw(path)


def test_no_state_dict(tmp_path):
    path = files.torch_zip(tmp_path / "a", mapping(epoch=number(1), optimizer=files.EMPTY_DICT), {})
    with pytest.raises(CheckpointError, match=r"a: no state dict was found.*\['epoch', 'optimizer'\]"):
        read_raw(path)


def test_a_dictionary_that_holds_itself(tmp_path):
    body = b"}q\x00(" + text("model") + b"h\x00" + text("x") + tensor_of("0", BIAS) + b"u"
    check(read_raw(files.torch_zip(tmp_path / "a", body, {"0": BIAS.tobytes()})).arrays, {"x": BIAS})


def test_legacy_views_and_python_2_strings(tmp_path):
    """A storage that is a window on another; keys as Python 2 wrote them."""
    flat = np.arange(10, dtype=np.float32)
    view = files.values(text("7"), number(4), number(3))
    key = b"U\x01x"
    body = b"}(" + key + tensor(storage("a", "float32", 10, view), 1, (2,), (1,)) + b"u"
    check(read_raw(files.torch_legacy(tmp_path / "a", body, {"a": flat})).arrays, {"x": flat[5:7]})


def test_tar_views_and_python_2_integers(tmp_path):
    """A storage that is a window on a window; persistent ids beyond 32 bits as Python 2 wrote them."""
    flat = np.arange(10, dtype=np.float32)
    big = 94020255495056
    long = f"I{big}\n".encode()
    stored = files.pickled(number(1)) + files.pickled(
        files.values(long, text("cpu"), name("torch.cuda", "FloatStorage"))
    )
    stored += struct.pack("<q", 10) + flat.tobytes()
    views = [
        files.values(number(2), long, number(3), number(7)),
        files.values(number(3), number(2), number(1), number(5)),
    ]
    stored += files.pickled(files.listed(*views))
    tensors = files.pickled(number(1)) + files.pickled(files.values(number(1), number(3), name("torch", "FloatTensor")))
    tensors += struct.pack("<2i5q", 2, 0, 2, 2, *contiguous((2, 2)), 1)
    members = {"pickle": files.pickled(named({"x": text("1") + b"Q"})), "tensors": tensors, "storages": stored}
    check(read_raw(files.write_tar(tmp_path / "a", members)).arrays, {"x": flat[5:9].reshape(2, 2)})


def test_checksums(tmp_path):
    """A changed number is noticed, unless the file was written without checksums."""
    path = files.arrays_zip(tmp_path / "a", {"x": BIAS})
    content = bytearray(path.read_bytes())
    content[content.index(BIAS.tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="'archive/data/0' fails its checksum"):
        read_raw(path)
    directory = content.index(b"PK\1\2")
    while (entry := content.find(b"PK\1\2", directory)) >= 0:  # set_crc32_options(False) leaves zeros
        content[entry + 16 : entry + 20] = bytes(4)
        directory = entry + 4
    path.write_bytes(content)
    assert read_raw(path).arrays["x"].shape == BIAS.shape


def test_zip64(tmp_path, monkeypatch):
    """Archives of more than 4 GiB keep sizes and offsets elsewhere; here every archive does."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    path = files.arrays_zip(tmp_path / "a", ARRAYS)
    assert b"PK\6\6" in path.read_bytes()
    check(read_raw(path).arrays, ARRAYS)
