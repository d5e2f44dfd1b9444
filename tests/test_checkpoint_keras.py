"""Keras ``.h5`` files, made with h5py in the layouts that Keras writes; and those that reach outside themselves."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pytest

from npresnet.checkpoint import CheckpointError, read_raw

RNG = np.random.default_rng(22)
LAYERS = {
    "conv1_conv": {"kernel": RNG.standard_normal((7, 7, 3, 4)), "bias": RNG.standard_normal(4)},
    "conv1_bn": {name: RNG.standard_normal(4) for name in ("gamma", "beta", "moving_mean", "moving_variance")},
    "pool1_pool": {},
    "predictions": {"kernel": RNG.standard_normal((4, 2)), "bias": RNG.standard_normal(2)},
}
EXPECTED = {
    f"{layer}/{name}": array.astype(np.float32) for layer, weights in LAYERS.items() for name, array in weights.items()
}


def write_keras2(root, suffix=":0", nested=True, encode=str.encode, compression=None):
    """The layout of save_weights: TensorFlow puts the layer's name into the weight's name and adds ``:0``."""
    root.attrs["layer_names"] = [encode(layer) for layer in LAYERS]
    for layer, weights in LAYERS.items():
        group = root.create_group(layer)
        names = [f"{layer}/{name}{suffix}" if nested else f"{name}{suffix}" for name in weights]
        group.attrs["weight_names"] = [encode(name) for name in names]
        for name, array in zip(names, weights.values(), strict=True):
            group.create_dataset(name, data=array.astype(np.float32), compression=compression if array.ndim else None)


def check(path):
    found = read_raw(path).arrays
    assert found.keys() == EXPECTED.keys()
    for key, array in EXPECTED.items():
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize(
    "layout", [{}, {"suffix": ""}, {"nested": False}, {"encode": str}, {"compression": "gzip"}, {"compression": "lzf"}]
)
def test_weights(tmp_path, layout):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_keras2(file, **layout)
    check(tmp_path / "a.h5")


def test_full_model(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = "{}"
        write_keras2(file.create_group("model_weights"))
        file.create_group("optimizer_weights").create_dataset("iterations", data=3)
    check(tmp_path / "a.h5")


def test_long_lists_of_names(tmp_path):
    """HDF5 limits an attribute to 64 KB, so Keras splits the list of layers."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_keras2(file)
        del file.attrs["layer_names"]
        names = [layer.encode() for layer in LAYERS]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:1], names[1:]
    check(tmp_path / "a.h5")


def write_keras3(root, named=True):
    layers = root.create_group("layers")
    for label, (layer, weights) in zip(
        ("conv2d", "batch_normalization", "max_pooling2d", "dense"), LAYERS.items(), strict=True
    ):
        variables = layers.create_group(label).create_group("vars")
        if named:
            variables.attrs["name"] = layer
        for i, array in enumerate(weights.values()):
            variables.create_dataset(str(i), data=array.astype(np.float32))


def test_weights_of_keras_3(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_keras3(file)
    found = read_raw(tmp_path / "a.h5").arrays
    expected = {f"{layer}/vars/{i}": a for layer, weights in LAYERS.items() for i, a in enumerate(weights.values())}
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array.astype(np.float32))


def refused(path, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        read_raw(path)
    assert str(path) in str(caught.value)


def test_layers_without_names(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_keras3(file, named=False)
    refused(tmp_path / "a.h5", r"does not name its layers.*model.save\('model.h5'\)")


def test_other_hdf5_files(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("measurements", data=[1.0])
    refused(tmp_path / "a.h5", r"no layout of Keras; its top holds \['measurements'\]")


def replace_kernel(path, make):
    """A good file whose first kernel is what ``make`` puts in its place."""
    with h5py.File(path, "w") as file:
        write_keras2(file)
        del file["conv1_conv/conv1_conv/kernel:0"]
        make(file["conv1_conv/conv1_conv"])
    return path


def external_link(secret):
    return lambda group: group.__setitem__("kernel:0", h5py.ExternalLink(secret, "/x"))


def soft_link(group):
    group["kernel:0"] = h5py.SoftLink("/conv1_bn/conv1_bn/gamma:0")


def external_storage(secret):
    return lambda group: group.create_dataset("kernel:0", (4,), "f4", external=[(secret, 0, 16)])


def virtual(secret):
    def make(group):
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(secret, "x", (4,))
        group.create_virtual_dataset("kernel:0", layout)

    return make


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (external_link, "link, possibly into another file"),
        (lambda secret: soft_link, "link, possibly into another file"),
        (external_storage, "lie in another file"),
        (virtual, "lie in another file"),
        (lambda secret: lambda group: group.create_group("kernel:0"), "not a numeric array"),
        (lambda secret: lambda group: group.create_dataset("kernel:0", data="text"), "not a numeric array"),
        (lambda secret: lambda group: group.create_dataset("kernel:0", data=h5py.Empty("f4")), "not a numeric array"),
        (lambda secret: lambda group: None, "lists .* but does not hold it"),
        (
            lambda secret: lambda group: group.create_dataset("kernel:0", (2**40,), "f4", chunks=(2**20,)),
            "refused as a bomb",
        ),
    ],
)
def test_what_a_file_may_not_hold(tmp_path, make, match):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(4, dtype=np.float32)
    refused(replace_kernel(tmp_path / "a.h5", make(str(secret))), match)


def test_names_cannot_climb(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_keras2(file)
        file["conv1_conv"].attrs["weight_names"] = [b"../conv1_bn/conv1_bn/gamma:0"]
    refused(tmp_path / "a.h5", "does not hold it")


def test_damage(tmp_path):
    """Cut files and damaged headers; the HDF5 library itself judges most of it."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_keras2(file)
    content = (tmp_path / "a.h5").read_bytes()
    for size in range(8, len(content) - 2000, 499):
        (tmp_path / "b.h5").write_bytes(content[:size])
        refused(tmp_path / "b.h5", "damaged")


def test_without_h5py(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_keras2(file)
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(tmp_path / "a.h5", r"pip install 'npresnet\[keras\]'")
