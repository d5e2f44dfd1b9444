"""The engine against the ordinary path in float64: every layer of every kind of network, on every processor at hand.

The float64 model computes with NumPy's kernels, layer by layer, and shares nothing with the engine.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import agree
from calibrated import NETWORKS, SMALL, calibrate, calibrated, close, in_float64, noise, ordinary, ordinary_maps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import configurations, pictures

from npresnet import ResNetBackbone, ResNetForImageClassification, ResNetModel, use_backend
from npresnet.engine import Plan, Target, find_target, planning
from npresnet.engine import plan as plan_module
from npresnet.kernels import parallel
from npresnet.nn import BatchNorm2d

PRECISIONS = ("float32", "bfloat16", "int8")
KINDS = (ResNetForImageClassification, ResNetModel, ResNetBackbone)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks while there are threads")


def target_of(name: str) -> Target:
    try:
        return find_target(name)
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["native", "avx2", "baseline"])
def target(request: pytest.FixtureRequest) -> Target:
    """Every processor that this one can stand in for."""
    return target_of(request.param)


def compiled(model: Any, precision: str = "float32", **arguments: Any) -> Plan:
    """A plan, or a skipped test where the processor has no such numbers."""
    target = arguments.get("target") or find_target()
    if precision == "bfloat16" and not target.has_bf16:
        pytest.skip(f"{target.cpu} ({target.level}) has no bfloat16 arithmetic")
    if precision == "int8":
        arguments.setdefault("calibration", noise(channels=model.config.num_channels, seed=11))
    return model.compile(precision=precision, **arguments)


@functools.cache
def network(name: str) -> Any:
    """Shared by tests that change nothing."""
    return calibrated(**NETWORKS[name])


@functools.cache
def expected_maps(name: str, images: int = 3) -> dict[int, np.ndarray]:
    model = network(name)
    return ordinary_maps(model, noise(images, model.config.num_channels))


# ----------------------------------------------------------------------------------------------------- layer by layer


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer(name: str, target: Target) -> None:
    """Seen: 8e-7 on average and 3e-5 at most in one number of a layer, with or without Winograd's algorithm."""
    model = network(name)
    for images in (3, 1):
        expected = expected_maps(name, images)
        for winograd in (True, False):
            plan = model.compile(winograd=winograd, target=target)
            found = plan.run(noise(images, model.config.num_channels), expected)
            assert found is not None
            assert found.keys() == expected.keys()
            for node in plan.graph.nodes:
                assert found[node.output].dtype == np.float32
                close(f"layer: {name}, {node.name}", found[node.output], expected[node.output])


@pytest.mark.parametrize("name", ["four stages", "bottleneck v1", "resnet-d", "output stride 8", "cifar"])
@pytest.mark.parametrize("working_set", [100, 5000, 20000])
def test_groups_of_images(name: str, working_set: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large batch goes through each part of the network in groups of other sizes, and leaves no trace of them."""
    model = network(name)
    expected, x = ordinary_maps(model, noise(7)), noise(7)
    for winograd in (True, False):
        whole = model.compile(winograd=winograd).run(x, expected)
        monkeypatch.setattr(planning, "WORKING_SET", working_set)
        plan = model.compile(winograd=winograd)
        for wanted in (expected, [plan.graph.end]):  # all maps, or only the last one
            found = plan.run(x, wanted)
            assert found is not None
            assert whole is not None
            for number in wanted:
                close(f"in groups: {name}, {number}", found[number], expected[number])
                assert winograd or np.array_equal(found[number], whole[number])
        assert max(len(section.groups) for section in sections_of(plan)) > 1
        monkeypatch.undo()


def sections_of(plan: Plan) -> list[planning.Section]:
    """How the batch of the last call was divided."""
    program = plan._last
    assert program is not None
    return planning.Blueprint(plan.graph, plan._store, program.shape, plan.winograd, plan._machine.target).sections  # type: ignore[arg-type]


def test_relu6_cuts_off() -> None:
    """Otherwise the test above would not see it."""
    for number in network("relu6")._graph().states:
        assert (expected_maps("relu6")[number] == 6).mean() > 0.01


@pytest.mark.parametrize("name", ["basic", "four stages", "cifar", "resnet-d"])
def test_winograd_is_chosen_and_can_be_declined(name: str) -> None:
    model = network(name)
    x = noise(channels=model.config.num_channels)
    for winograd in (True, False):
        plan = model.compile(winograd=winograd)
        plan(x)
        assert ("winograd" in plan.describe().lower()) == winograd


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_network(data: st.DataObject) -> None:
    config = data.draw(configurations())
    height, width, images = (data.draw(st.integers(low, high)) for low, high in ((1, 40), (1, 40), (1, 4)))
    model = ResNetForImageClassification(config, seed=0)
    calibrate(model, noise(4, config.num_channels, 40, 40), np.random.default_rng(1))
    x, plan = noise(images, config.num_channels, height, width), model.compile()
    try:
        expected = ordinary(model, x).logits
    except ValueError:  # the image is too small
        assert isinstance(outcome(plan, x), tuple)
        return
    found = plan(x).logits
    assert found.dtype == np.float32
    agree("any network: logits", found, expected, 1e-4, norm=True)  # maps of a pixel or two are not quite tame


# --------------------------------------------------------------------------------------------------------- Winograd


class Single:
    """The convolutions of a basic layer one at a time, each with the engine's own input."""

    def __init__(self, model: Any, winograd: bool = True, target: Target | None = None) -> None:
        self.double, self.plan = in_float64(model), model.compile(winograd=winograd, target=target)
        self.layer: Any = self.double.resnet.encoder.stages[0].layers.layers[0]

    def check(self, x: np.ndarray) -> None:
        first, second = (node for node in self.plan.graph.convolutions if ".layers.0.layer." in node.name)
        assert second.residual is not None
        numbers = (first.input, first.output, second.residual, second.output)
        maps = self.plan.run(x, numbers)
        assert maps is not None
        source, middle, residual, end = (maps[number].astype(np.float64) for number in numbers)
        with use_backend("numpy"):
            close("one convolution", middle, self.layer.layer.layers[0](source))
            close("one convolution", end, np.maximum(self.layer.layer.layers[1](middle) + residual, 0))


@pytest.fixture(params=[4, 2])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Winograd's algorithm with tiles of so many rows wherever it is possible, also where it is not worth it."""
    costs = {form: -1e9 if form[0] == request.param else 1e9 for form in planning.TRANSFORM}
    monkeypatch.setattr(planning, "TRANSFORM", costs)
    return request.param


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", range(1, 10))
def test_winograd_on_maps_of_every_size(width: int, stride: int, tile: int, target: Target) -> None:
    """The second convolution has a residual; whole tiles and parts of tiles occur."""
    down = {"downsample_in_first_stage": stride == 2}
    single = Single(calibrated(stem_type="cifar", hidden_sizes=(16,), depths=(1,), **down), target=target)
    for height in range(1, 10):
        single.check(noise(2, height=height * stride, width=width * stride - (width > 4)))
        text = single.plan.describe().lower()
        assert text.count(f"winograd {tile}x{tile}: outputs") == (2 if stride == 1 else 1)
        assert text.count(f"winograd {tile}x{tile}, stride 2: outputs") == (0 if stride == 1 else 1)


@pytest.mark.parametrize("stride", [1, 2])
def test_winograd_with_several_blocks_of_channels(stride: int, tile: int, target: Target) -> None:
    for channels in (40, 64, 130):
        model = calibrated(
            stem_type="cifar", embedding_size=channels, hidden_sizes=(channels,), depths=(1,),
            downsample_in_first_stage=stride == 2,
        )  # fmt: skip
        Single(model, target=target).check(noise(3, height=11 * stride, width=14 * stride))


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 9, 31])
def test_the_direct_convolution_on_maps_of_many_sizes(width: int, target: Target) -> None:
    single = Single(calibrated(stem_type="cifar", hidden_sizes=(16,), depths=(1,)), winograd=False, target=target)
    for height in (1, 2, 5):
        single.check(noise(2, height=height, width=width))


@pytest.mark.parametrize(("winograd", "allowed"), [(False, 1.5e-7), (True, 2.5e-7)])
def test_long_sums_of_numbers_of_one_sign(winograd: bool, allowed: float, target: Target) -> None:
    """4608 terms. Seen: 9e-8 and 1.3e-7 of the mean; added one to the next it would be 7e-7 and 4e-7."""
    model = calibrated(stem_type="cifar", embedding_size=512, hidden_sizes=(512,), depths=(1,))
    first = model.resnet.encoder.stages[0].layers.layers[0].layer.layers[0]
    first.convolution.weight.data = np.abs(first.convolution.weight.data)
    plan = model.compile(winograd=winograd, target=target)
    node = next(node for node in plan.graph.convolutions if node.name.endswith("layers.0.layer.0"))
    maps = plan.run(noise(1, height=9, width=8), [node.input, node.output])
    assert maps is not None
    layer = in_float64(model).resnet.encoder.stages[0].layers.layers[0].layer.layers[0]
    with use_backend("numpy"):
        expected = layer(maps[node.input].astype(np.float64))
    scale = expected.std() / expected.mean()
    assert scale < 1
    close("long sums", maps[node.output], expected, rms=allowed / scale, largest=8 * allowed / scale)


# ---------------------------------------------------------------------------------------------------- models' outputs


def parts_of(output: Any) -> list[np.ndarray]:
    """All arrays of an output, in order."""
    values = output if isinstance(output, tuple) else output.to_tuple()
    return [array for value in values for array in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("states", [None, True, False])
@pytest.mark.parametrize("return_dict", [None, True, False])
@pytest.mark.parametrize("defaults", [{}, {"output_hidden_states": True, "return_dict": False}])
def test_outputs_are_those_of_the_model(
    kind: type, states: bool | None, return_dict: bool | None, defaults: dict[str, Any]
) -> None:
    model = calibrated(kind, hidden_sizes=(16, 32, 48), depths=(1, 1, 1), out_indices=(0, 2, 3), **defaults)
    plan, x = model.compile(), noise()
    arguments = {"output_hidden_states": states, "return_dict": return_dict}
    found, same = plan(x, **arguments), model(x, **arguments)
    assert type(found) is type(same)
    if not isinstance(found, tuple):
        assert found.keys() == same.keys()
    arrays, expected = parts_of(found), parts_of(ordinary(model, x, **arguments))
    assert [(a.shape, a.dtype) for a in arrays] == [(a.shape, a.dtype) for a in parts_of(same)]
    for array, exact in zip(arrays, expected, strict=True):
        close("output", array, exact)
    positional = parts_of(plan(x, states, return_dict))
    assert all(np.array_equal(a, b) for a, b in zip(positional, arrays, strict=True))


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_belong_to_the_caller(kind: type, precision: str, images: int) -> None:
    """A later call does not change them, and a caller may."""
    plan = compiled(calibrated(kind), precision)
    first = parts_of(plan(noise(images), output_hidden_states=True))
    copies = [array.copy() for array in first]
    plan(noise(images, seed=6), output_hidden_states=True)
    assert all(np.array_equal(a, b) for a, b in zip(first, copies, strict=True))
    for array in first:
        assert array.flags.c_contiguous
        array[...] = 7
    again = parts_of(plan(noise(images), output_hidden_states=True))
    assert all(np.array_equal(a, b) for a, b in zip(again, copies, strict=True))


def test_pixel_values_are_only_read() -> None:
    plan, x = network("basic").compile(), noise()
    x.flags.writeable = False
    expected = plan(x).logits
    reversed_twice = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=3)[..., ::2], reversed_twice):
        assert not same.flags.c_contiguous
        assert np.array_equal(plan(same).logits, expected)


def test_many_shapes_one_after_the_other() -> None:
    """More than there are programs kept."""
    model = network("basic")
    plan = model.compile()
    inputs = [noise(images, height=height) for images in (1, 2, 3) for height in (33, 20)]
    first = [plan(x).logits for x in inputs]
    for x, logits in zip(inputs, first, strict=True):
        close("output", logits, ordinary(model, x).logits)
        assert np.array_equal(plan(x).logits, logits)
        assert len(plan._programs) <= plan_module.PROGRAMS


def test_a_large_batch_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network("basic"), noise(5)
    plan = model.compile()
    monkeypatch.setattr(plan_module, "PIXELS", 2 * 33 * 30 + 1)
    found = plan(x, output_hidden_states=True)
    assert "input 1 x 3 x 33 x 30" in plan.describe()  # the last of 2, 2 and 1
    for array, exact in zip(parts_of(found), parts_of(ordinary(model, x, output_hidden_states=True)), strict=True):
        close("output", array, exact)
    monkeypatch.setattr(plan_module, "PIXELS", 1)  # less than one image
    close("output", plan(x).logits, ordinary(model, x).logits)


# ------------------------------------------------------------------------------------------- threads and repetitions


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["basic", "bottleneck", "gelu"])
def test_the_same_bits_on_any_number_of_threads(name: str, precision: str, target: Target) -> None:
    model, x = network(name), noise(3, height=65, width=50)
    wanted = [node.output for node in model._graph().nodes]
    expected: dict[int, np.ndarray] = {}
    for threads in (1, 2, 3, 5):
        plan = compiled(model, precision, num_threads=threads, target=target)
        for _ in range(3):
            found = plan.run(x, wanted)
            assert found is not None
            expected = expected or found
            for number in wanted:
                assert np.array_equal(found[number], expected[number]), (threads, number)


def together(work: Callable[[int], Any], count: int = 8) -> list[Any]:
    """Call work(0) ... work(count - 1) at the same moment, each in a thread; returns results and exceptions."""
    barrier, results = threading.Barrier(count, timeout=60), [None] * count

    def call(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            results[number] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    return results


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shared", [True, False])
def test_many_callers_at_once(shared: bool, precision: str) -> None:
    """On one plan or on several, from the very first call: nobody sees weights that are only half packed."""
    model = network("bottleneck")
    inputs = [noise(1 + number % 3, height=33 + 4 * number, seed=number) for number in range(8)]
    quiet = compiled(model, precision)
    expected = [quiet(x).logits for x in inputs]
    for _ in range(6):
        plans = [compiled(model, precision)] * 8 if shared else [compiled(model, precision) for _ in range(8)]

        def work(number: int, plans: list[Plan] = plans) -> list[np.ndarray]:
            return [plans[number](inputs[number]).logits for _ in range(3)]

        for found, logits in zip(together(work), expected, strict=True):
            assert isinstance(found, list), found
            assert all(np.array_equal(one, logits) for one in found)


def test_callers_while_weights_change() -> None:
    """Every result is that of the old weights or that of the new ones."""
    model, x = calibrated(), noise(2)
    bias = model.classifier[1].bias
    plan, old, new = model.compile(), bias.data, bias.data + np.float32(1)
    allowed = []
    for data in (new, old):
        bias.data = data
        allowed.append(plan(x).logits)

    def work(number: int) -> list[np.ndarray]:
        found = []
        for turn in range(10):
            if number == 0:
                bias.data = (new, old)[turn % 2]
            found.append(plan(x).logits)
        return found

    for results in together(work):
        assert isinstance(results, list), results
        for logits in results:
            assert any(np.array_equal(logits, one) for one in allowed)


def test_inside_a_task() -> None:
    """Where the threads are taken already, the plan gets along with one."""
    plan, x = network("basic").compile(num_threads=3), noise()
    expected, found = plan(x).logits, {}
    parallel.for_each(lambda index: found.update({index: plan(x).logits}), 4)
    assert all(np.array_equal(found[index], expected) for index in range(4))


def in_a_child(work: Callable[[], None]) -> Any:
    """Start a forked process that does some work, and return it."""
    child = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer versions of Python advise against forks
        child.start()
    return child


def ended_well(child: Any) -> bool:
    child.join(timeout=60)
    if child.exitcode is None:
        child.kill()
        child.join()
    return child.exitcode == 0


@on_linux
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_forked_child_and_its_parent_do_not_share_maps(precision: str) -> None:
    plan, inputs = compiled(network("basic"), precision, num_threads=2), [noise(seed=1), noise(seed=2)]
    expected = [plan(x).logits for x in inputs]

    def repeat(which: int) -> None:
        for _ in range(300):
            assert np.array_equal(plan(inputs[which]).logits, expected[which])

    child = in_a_child(lambda: repeat(0))
    try:
        repeat(1)
    finally:
        assert ended_well(child)


@on_linux
def test_a_fork_while_another_thread_computes() -> None:
    """The child has a copy of every lock, also of one that a thread holds which the child does not have."""
    plan, x = network("basic").compile(num_threads=2), noise(3, height=129, width=128)
    expected, stop = plan(x).logits, threading.Event()

    def keep_computing() -> None:
        while not stop.is_set():
            plan(x)

    def compute() -> None:
        assert np.array_equal(plan(x).logits, expected)

    busy = threading.Thread(target=keep_computing)
    busy.start()
    try:
        children = [in_a_child(compute) for _ in range(5)]
        alive = [child for child in children if not (child.join(timeout=20), child.exitcode is not None)[1]]
        for child in alive:
            child.kill()
            child.join()
    finally:
        stop.set()
        busy.join()
    assert not alive
    assert [child.exitcode for child in children] == [0] * 5


# --------------------------------------------------------------------------------------------------- the ordinary path


def outcome(call: Callable[..., Any], x: Any) -> Any:
    """Arrays, or the error."""
    try:
        return parts_of(call(x))
    except Exception as error:
        return type(error), str(error)


INPUTS: dict[str, Any] = {
    "float64": noise().astype(np.float64),
    "float16": noise().astype(np.float16),
    "other byte order": noise().astype(">f4"),
    "whole numbers": np.zeros((1, 3, 33, 30), np.uint8),
    "too small": noise(height=4, width=4),
    "four channels": noise(channels=4),
    "one picture": noise()[0],
    "five dimensions": noise()[None],
    "empty batch": noise()[:0],
    "no pixels": noise()[:, :, :0],
    "a list": noise(1).tolist(),
    "nothing": None,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", INPUTS)
def test_what_the_engine_leaves_to_the_ordinary_path(kind: type, what: str) -> None:
    """The same numbers, or the same error."""
    model = calibrated(kind, stem_pool="caffe")
    plan = model.compile()
    for _ in range(2):
        found, expected = outcome(plan, INPUTS[what]), outcome(model, INPUTS[what])
        if isinstance(expected, list):
            assert [a.dtype for a in found] == [a.dtype for a in expected]
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        else:
            assert found == expected
        plan(noise())  # and then it goes on


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_float64_model(precision: str) -> None:
    model = calibrated().astype(np.float64)
    plan, x = compiled(model, precision), noise()
    assert np.array_equal(plan(x.astype(np.float64)).logits, model(x.astype(np.float64)).logits)
    assert outcome(plan, x) == outcome(model, x) or np.array_equal(plan(x).logits, model(x).logits)
    model.astype(np.float32)
    tolerance = {} if precision == "float32" else {"rms": 0.3, "largest": 1.0}
    close(f"back in {precision}", plan(x).logits, ordinary(model, x).logits, **tolerance)


def test_the_ordinary_path_leaves_the_mode_alone() -> None:
    """The plan computes as in evaluation mode, whatever the mode of the model."""
    for dtype in (np.float32, np.float64):
        model, x = calibrated().astype(dtype), noise().astype(dtype)
        plan, expected = model.compile(), ordinary(model, x).logits
        model.train()
        statistics = [buffer.copy() for _, buffer in model.named_buffers()]
        close("in training mode", plan(x).logits, expected)
        assert model.training
        assert all(module.training and module.keeps_cache for _, module in model.named_modules())
        assert all(np.array_equal(a, b) for a, (_, b) in zip(statistics, model.named_buffers(), strict=True))


def test_a_head_that_is_not_covered() -> None:
    """Two halves of 20 channels do not begin with a block of 16."""
    model, x = calibrated(global_pool="catavgmax", hidden_sizes=(16, 20)), noise()
    for precision in ("float32", "int8"):
        plan = compiled(model, precision, batch=1)
        assert np.array_equal(plan(x).logits, model(x).logits)
        assert "everything runs on the ordinary path" in plan.describe()


# --------------------------------------------------------------------------------------------------- changed weights


def other_state(model: Any) -> None:
    model.load_state_dict(calibrated(seed=8).state_dict())


def replaced(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data - np.float32(0.05)


def in_place(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data *= np.float32(1.01)


def last_layer_in_place(model: Any) -> None:
    model.classifier[1].weight.data *= np.float32(1.01)


def statistics_replaced(model: Any) -> None:
    for _, module in model.named_modules():
        if isinstance(module, BatchNorm2d):
            module.running_var = module.running_var * np.float32(1.5)


def statistics_in_place(model: Any) -> None:
    for _, module in model.named_modules():
        if isinstance(module, BatchNorm2d):
            module.running_mean += np.float32(0.3)


def trained(model: Any) -> None:
    model.train()(noise(4, seed=9))
    model.eval()


def three_labels(model: Any) -> None:
    model.reset_classifier(3)


def no_labels(model: Any) -> None:
    model.reset_classifier(0)


def no_labels_and_another_pool(model: Any) -> None:
    model.reset_classifier(0)
    model.compile()(noise())
    model.reset_classifier(0, "max")


def another_pool(model: Any) -> None:
    model.reset_classifier(5, "avgmax")


def there_and_back(model: Any) -> None:
    model.astype(np.float64)
    model.classifier[1].bias.data += 1
    model.astype(np.float32)


CHANGES = (
    other_state, replaced, in_place, last_layer_in_place, statistics_replaced, statistics_in_place, trained,
    three_labels, no_labels, no_labels_and_another_pool, another_pool, there_and_back,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_noticed(change: Callable[[Any], None]) -> None:
    model, x = calibrated(), noise()
    plan = model.compile()
    before = plan(x).logits
    change(model)
    expected = ordinary(model, x).logits
    close(f"after a change: {change.__name__}", plan(x).logits, expected, rms=4e-6)
    assert before.shape != expected.shape or np.abs(before - expected).max() > 1e-3
    assert plan.graph.end == model._graph().end


def test_another_pool_without_labels() -> None:
    """Changes no array at all."""
    model, x = calibrated(num_labels=0), noise()
    plan = model.compile()
    plan(x)
    model.reset_classifier(0, "max")
    close("after a change: pool", plan(x).logits, ordinary(model, x).logits)


def test_unchanged_weights_are_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = calibrated()
    plan = model.compile()
    plan(noise())
    monkeypatch.setattr(plan, "_refresh", None)
    plan(noise())
    plan(noise(1))
    model.train()
    plan(noise())


# ------------------------------------------------------------------------------------------------ looking and errors


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["basic", "resnet-d", "gelu"])
def test_describe_and_profile(name: str, precision: str) -> None:
    model, x = network(name), noise()
    plan = compiled(model, precision, num_threads=2)
    assert "no program yet" in plan.describe()
    plan(x)
    text, profile = plan.describe(), plan.profile(x, repeats=2)
    for node in plan.graph.nodes:
        assert re.search(rf"^{re.escape(node.name)}  ", text, re.MULTILINE), node.name
    assert text.startswith(f"{precision} on {plan.target.cpu} ({plan.target.level}), 2 threads, weights ")
    assert "input 3 x 3 x 33 x 30" in text
    assert "direct 7x7" in text or "direct 3x3" in text
    assert ("winograd" in text.lower()) == (precision == "float32")
    assert text.count("ordinary path (NumPy)") == (4 if name == "gelu" else 0)
    row = next(line for line in text.splitlines() if line.startswith("classifier.1"))
    macs = 3 * model.classifier[1].weight.size / 1e6
    assert row.split()[-1] == f"{macs:.1f}"
    timed = re.findall(r"^(\S+) .* (\d+\.\d{3})( +\d+)?$", profile, re.MULTILINE)
    assert {node.name for node in plan.graph.convolutions} <= {name for name, *_ in timed}
    expected = plan(x).logits
    assert np.array_equal(plan(x).logits, expected)


def test_compiled_for_a_batch() -> None:
    model = calibrated(stem_type="cifar")
    assert "input 2 x 3 x 32 x 32" in model.compile(batch=2).describe()
    assert "input 2 x 3 x 32 x 32" in compiled(model, "int8", batch=2).describe()
    assert "no program yet" in model.compile(batch=2, precision="int8").describe()  # there is nothing to calibrate with


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "float16"}, "'float16' is not known; choose float32, bfloat16 or int8"),
        ({"num_threads": 0}, "num_threads must be at least 1, found 0"),
        ({"num_threads": -3}, "num_threads must be at least 1, found -3"),
        ({"batch": 0}, "batch must be at least 1, found 0"),
        ({"precision": "int8", "calibration": noise(channels=4)}, r"shape \(N, 3, H, W\), found \(3, 4, 33, 30\)"),
        ({"precision": "int8", "calibration": noise()[:0]}, r"found \(0, 3, 33, 30\)"),
        ({"precision": "int8", "calibration": noise()[0]}, r"found \(3, 33, 30\)"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network("basic").compile(**arguments)


def test_bfloat16_needs_its_instructions() -> None:
    for name in ("avx2", "baseline"):
        target = target_of(name)
        with pytest.raises(ValueError, match=rf"{target.level}\) has no bfloat16 arithmetic; use precision='float32'"):
            network("basic").compile(precision="bfloat16", target=target)


def test_targets() -> None:
    assert find_target("native") == find_target("native")
    with pytest.raises(ValueError, match=r"target 'pentium' is not available on this processor; it has native"):
        find_target("pentium")


def test_the_target_of_the_environment() -> None:
    code = "from npresnet.engine import find_target; print(find_target().level)"
    assert run(code, NPRESNET_TARGET=target_of("baseline").level) == ["baseline"]


# ----------------------------------------------------------------------------------------------------------- predict


def test_predict_uses_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = calibrated(), []
    run = Plan.run

    def counting(plan: Plan, *arguments: Any) -> Any:
        calls.append(plan)
        return run(plan, *arguments)

    monkeypatch.setattr(Plan, "run", counting)
    images = pictures(3)
    fast = model.predict(images, batch_size=2)
    assert len(calls) == 2
    assert calls[0] is calls[1]
    with use_backend("numpy"):
        slow = model.predict(images)
    assert len(calls) == 2
    assert [[p.index for p in one] for one in fast] == [[p.index for p in one] for one in slow]
    close("scores", [[p.score for p in one] for one in fast], np.array([[p.score for p in one] for one in slow]))
    model.astype(np.float64).predict(images)
    assert len(calls) == 2
    model.astype(np.float32).predict(images)
    assert len(calls) == 3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_matrix_product_of_numpy(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All arithmetic is the engine's own, once weights are packed."""

    def forbidden(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("BLAS")

    plan = compiled(network("bottleneck"), precision)
    plan(noise())
    plan(noise(1))
    for name in ("matmul", "dot", "einsum", "tensordot", "inner", "vdot"):
        monkeypatch.setattr(np, name, forbidden)
    monkeypatch.setattr(parallel, "matmul", forbidden)
    assert np.isfinite(plan(noise(1)).logits).all()
    assert np.isfinite(plan(noise()).logits).all()


def run(code: str, **environment: str) -> list[str]:
    """Lines that another Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines() + (["announced"] if "compiling for this processor" in done.stderr else [])


PREDICT = f"""
import sys, numpy as np
from npresnet import ImageProcessor, ResNetConfig, ResNetForImageClassification
model = ResNetForImageClassification(ResNetConfig(**{SMALL}), seed=3)
model.processor = ImageProcessor.torchvision(40, 32)
picture = np.random.default_rng(2).integers(0, 256, (40, 40, 3), np.uint8)
print([(p.index, p.score.hex()) for p in model.predict(picture)])
print([name for name in ("numba", "scipy", "torch") if name in sys.modules])
"""


def test_a_warm_process_neither_compiles_nor_imports_compilers(tmp_path: Path) -> None:
    cold = run(PREDICT, NPRESNET_CACHE_DIR=str(tmp_path))
    warm = run(PREDICT, NPRESNET_CACHE_DIR=str(tmp_path))
    assert cold[1:] == ["[]", "announced"]
    assert warm == cold[:2]
    assert list(tmp_path.rglob("*.code"))


def test_without_a_cache(tmp_path: Path) -> None:
    """The folder is a file, so nothing can be kept."""
    (tmp_path / "file").write_text("not a folder")
    found = run(PREDICT, NPRESNET_CACHE_DIR=str(tmp_path / "file"))
    assert found == run(PREDICT, NPRESNET_CACHE_DIR=str(tmp_path / "folder"))
    assert found[-1] == "announced"
    assert (tmp_path / "file").read_text() == "not a folder"


# ---------------------------------------------------------------------------------------------------- special values


SPECIAL = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "largest": np.finfo(np.float32).max}


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "catavgmax"])
@pytest.mark.parametrize("place", [(0, 0), (16, 17), (32, 29)])
def test_nan_stays_where_it_belongs(place: tuple[int, int], pool: str, target: Target) -> None:
    """Every map has NaN exactly where the ordinary path has it; Winograd's algorithm spreads it over its tiles."""
    model, x = calibrated(global_pool=pool), noise()
    clean = parts_of(model.compile(target=target)(x, output_hidden_states=True))
    x[(1, 2, *place)] = np.nan
    expected = parts_of(ordinary(model, x, output_hidden_states=True))
    for winograd in (False, True):
        found = parts_of(model.compile(target=target, winograd=winograd)(x, output_hidden_states=True))
        for number, (array, exact) in enumerate(zip(found, expected, strict=True)):
            if winograd and number:
                assert np.isnan(array[np.isnan(exact)]).all()
            else:
                assert np.array_equal(np.isnan(array), np.isnan(exact))
        assert np.isnan(found[0][1]).all()
        if winograd:
            assert all(np.array_equal(a[::2], b[::2]) for a, b in zip(found, clean, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("value", SPECIAL)
@pytest.mark.parametrize("name", ["basic", "bottleneck", "resnet-d"])
def test_other_images_are_untouched(name: str, value: str, precision: str) -> None:
    plan, x = compiled(network(name), precision), noise()
    expected = plan(x).logits
    x[1, :, 3:9, 5] = SPECIAL[value]
    found = plan(x).logits
    assert np.array_equal(found[::2], expected[::2])
    if value == "nan" and precision != "int8":
        assert np.isnan(found[1]).all()


def test_nan_of_any_kind_is_nan_in_bfloat16() -> None:
    """Rounding must not carry its highest bits over into the sign, and out."""
    plan, x = compiled(network("basic"), "bfloat16"), noise()
    for bits in (0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001):
        x[1, 1, 5, 5] = np.uint32(bits).view(np.float32)
        assert np.isnan(plan(x).logits[1]).all(), hex(bits)
