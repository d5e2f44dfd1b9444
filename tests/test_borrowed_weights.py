"""A loaded model shares its weights with the file until somebody needs them as arrays, and nobody can tell."""

from __future__ import annotations

import copy
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small import BOTTLENECK, network, pixels

import npresnet
from npresnet import checkpoint
from npresnet.nn import Parameter

TARGETS = ("model.npz", "model.safetensors", "model")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def borrowed(model: Any) -> list[bool]:
    """Of each parameter, whether its values still lie in a file: nothing else is read-only memory of another's."""
    return [not (p.peek().flags.owndata or p.peek().flags.writeable) for p in model.parameters()]


def same(model: Any, state: dict[str, np.ndarray]) -> None:
    found = model.state_dict()
    assert found.keys() == state.keys()
    assert all(np.array_equal(array, state[name]) for name, array in found.items())
    assert all(array.dtype == state[name].dtype for name, array in found.items())


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


# -------------------------------------------------------------------------------------------------------- a parameter


def test_a_parameter_copies_what_it_borrowed_when_it_is_read() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    array.flags.writeable = False
    parameter = Parameter(np.zeros((2, 3)))
    parameter.borrow(array)
    assert (parameter.shape, parameter.size, parameter.dtype) == ((2, 3), 6, np.float32)
    assert repr(parameter) == "Parameter(2 x 3, float32)"
    assert parameter.peek() is array
    data = parameter.data
    assert data.flags.writeable
    assert not np.shares_memory(data, array)
    assert parameter.data is data
    assert parameter.peek() is data
    parameter.data += 1
    assert np.array_equal(data, [[1, 2, 3], [4, 5, 6]])
    assert np.array_equal(array, [[0, 1, 2], [3, 4, 5]])


def test_a_parameter_gives_back_the_array_that_it_was_given() -> None:
    first, second = np.zeros(2), np.ones(3)
    second.flags.writeable = False
    parameter = Parameter(first)
    assert parameter.data is first
    parameter.borrow(second)
    parameter.data = second
    assert parameter.data is second


class Slow(np.ndarray):
    """An array whose copy takes so long that others come in between."""

    started: threading.Event

    def copy(self, order: Any = "C") -> Any:
        self.started.set()
        threading.Event().wait(0.05)
        return np.array(self)


def slow_parameter() -> tuple[Parameter, threading.Event]:
    array = np.arange(3.0).view(Slow)
    array.started = threading.Event()
    parameter = Parameter(np.zeros(3))
    parameter.borrow(array)
    return parameter, array.started


def test_threads_see_one_array() -> None:
    parameter, _ = slow_parameter()
    seen: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: seen.append(parameter.data)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert all(array is parameter.data for array in seen)


def test_replacing_during_a_copy() -> None:
    parameter, started = slow_parameter()
    reader = threading.Thread(target=lambda: parameter.data)
    reader.start()
    started.wait()
    new = np.ones(3)
    parameter.data = new
    reader.join()
    assert parameter.data is new


def test_borrowing_during_a_copy() -> None:
    parameter, started = slow_parameter()
    reader = threading.Thread(target=lambda: parameter.data)
    reader.start()
    started.wait()
    new = np.ones(3)
    parameter.borrow(new)
    reader.join()
    assert parameter.peek() is new
    assert parameter.data is not new


# ------------------------------------------------------------------------------------------------------ a loaded model


@pytest.mark.parametrize("target", TARGETS)
def test_a_loaded_model_borrows(target: str) -> None:
    network(**BOTTLENECK).save(target)
    assert all(borrowed(npresnet.load(target)))
    assert not any(borrowed(network()))


def test_each_parameter_is_copied_on_its_own() -> None:
    network().save("a.npz")
    model = npresnet.load("a.npz")
    first = next(model.parameters())
    view = first.peek()
    first.data[0] = 7
    assert not np.shares_memory(first.data, view)
    assert borrowed(model) == [False] + [True] * (len(borrowed(model)) - 1)


def test_looking_copies_nothing() -> None:
    network().save("a.npz")
    model = npresnet.load("a.npz")
    assert model.dtype == np.float32
    assert str(model.num_parameters)
    assert repr(model)
    assert str(model.summary((3, 32, 32)))
    assert model.state_dict()
    assert model.state_dict("torchvision")
    assert model.freeze("resnet.embedder.*")
    model.zero_grad()
    model.astype(np.float32).train().eval()
    model.save("b.npz")
    model.save("b")
    assert all(borrowed(model))


@pytest.mark.parametrize("target", TARGETS)
def test_using_a_model_does_not_touch_its_file(target: str) -> None:
    network().save(target)
    before = contents()
    model = npresnet.load(target)
    for parameter in model.parameters():
        parameter.data -= 1
    assert not any(borrowed(model))
    for array in model.state_dict().values():
        array[...] = 0
    assert contents() == before


def test_state_dict_gives_arrays_of_ones_own() -> None:
    model = network()
    model.save("a.npz")
    found = npresnet.load("a.npz")
    for array in found.state_dict().values():
        assert array.flags.writeable
        array[...] = 0
    same(found, model.state_dict())


def test_load_state_dict_always_copies() -> None:
    network().save("a.npz")
    arrays = checkpoint.read("a.npz").arrays
    model = network()
    model.load_state_dict(arrays)
    assert not any(borrowed(model))
    assert not any(np.shares_memory(p.data, arrays[name]) for name, p in model.named_parameters())
    loaded = npresnet.load("a.npz")
    loaded.load_state_dict({name: array + 1 for name, array in arrays.items()})  # replaces what was borrowed
    same(loaded, {name: array + 1 for name, array in arrays.items()})


def test_training_goes_the_same_way() -> None:
    x, labels = pixels(), np.array([1, 3])
    model = network()
    model.save("a.npz")
    models = [npresnet.load("a.npz").train(), model.train()]
    for each in models:
        for _ in range(2):
            each.zero_grad()
            each(x, labels=labels)
            each.backward()
            for parameter in each.parameters():
                parameter.data -= 0.1 * parameter.grad
    same(models[0], models[1].state_dict())


@pytest.mark.parametrize("target", TARGETS)
def test_saving_over_the_file(target: str) -> None:
    model = network()
    model.save(target)
    found = npresnet.load(target)
    next(found.parameters()).data += 1
    state = found.state_dict()
    found.save(target)
    same(found, state)
    same(npresnet.load(target), state)
    other = npresnet.load(target)
    model.save(target)  # another model in its place
    same(other, state)


@pytest.mark.parametrize("target", TARGETS)
def test_deleting_the_file(target: str) -> None:
    model = network()
    model.save(target)
    found = npresnet.load(target)
    shutil.rmtree(target) if Path(target).is_dir() else Path(target).unlink()
    same(found, model.state_dict())
    assert np.array_equal(found(pixels()).logits, model(pixels()).logits)


def test_copies_of_a_model() -> None:
    model = network()
    model.save("a.npz")
    found = npresnet.load("a.npz")
    deep, shallow = copy.deepcopy(found), copy.copy(found)
    for parameter in deep.parameters():
        parameter.data += 1
    same(found, model.state_dict())
    for parameter in shallow.parameters():  # the very same parameters
        parameter.data += 1
    same(found, deep.state_dict() | dict(found.named_buffers()))


# ------------------------------------------------------------------------------------------- what cannot be borrowed


def test_other_dtypes_are_converted() -> None:
    model = network()
    model.save("a.npz")
    double = npresnet.load("a.npz", dtype=np.float64)
    assert not any(borrowed(double))
    same(double, {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in model.state_dict().items()})
    double.save("b.npz")
    assert all(borrowed(npresnet.load("b.npz", dtype=np.float64)))
    single = npresnet.load("b.npz")
    assert not any(borrowed(single))
    same(single, model.state_dict())
    assert npresnet.load("a.npz").astype(np.float64).dtype == np.float64


def test_arrays_that_lie_anywhere() -> None:
    """NumPy's own files do not align their arrays; those at an odd place are copied."""
    model = network()
    np.savez("a.npz", **model.state_dict())
    found = npresnet.load("a.npz")
    assert not all(borrowed(found))
    assert all(parameter.peek().flags.aligned for parameter in found.parameters())
    same(found, model.state_dict())
    np.savez_compressed("b.npz", **model.state_dict())
    same(npresnet.load("b.npz"), model.state_dict())


def test_a_convolution_for_other_channels_is_an_array_of_its_own() -> None:
    network().save("a.npz")
    found = npresnet.load("a.npz", num_channels=1)
    assert not borrowed(found)[0]
    assert all(borrowed(found)[1:])


def test_windows_cannot_replace_a_file_that_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    network().save("a.npz")
    monkeypatch.setattr("npresnet.resnet.pretrained.sys", SimpleNamespace(platform="win32"))
    assert not any(borrowed(npresnet.load("a.npz")))
