"""Compiled training steps against the ordinary path in float64: features, every gradient, statistics.

The float64 model computes with NumPy's kernels, layer by layer, and shares nothing with the engine. Its numbers keep
away from the kinks of ReLU and from ties of the max-pool (:mod:`training_pairs`), so that what is left of a difference
is rounding: about 1e-6 of the root of the mean square.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from agreement import LARGEST as SEEN
from agreement import agree
from calibrated import SMALL, close
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small import configurations
from training_pairs import (
    Pair,
    Results,
    assert_close,
    assert_same,
    buffers_of,
    compiled_step,
    draw_alike,
    gradients_of,
    graph_of,
    norms_of,
    ordinary_step,
    pixels,
    widen_gaps,
)

import npresnet
from npresnet.engine import Target, find_target, planning
from npresnet.engine.training import TrainingPlan, convolver, not_covered
from npresnet.nn import BatchNorm2d, Dropout
from npresnet.resnet import ResNetForImageClassification
from npresnet.train.compiled import CompiledStep

RMS, LARGEST = 6e-6, 8e-5  # seen: 2.7e-6 and 4e-5 directly, 4e-6 and 5e-5 with Winograd's algorithm

TARGETS = ("native", "avx2", "baseline")


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    """Every processor that this one can stand in for."""
    try:
        return find_target(request.param)
    except ValueError as error:
        pytest.skip(str(error))


# ----------------------------------------------------------------------------------------------------- whole networks

BOTTLENECK: dict[str, Any] = {"layer_type": "bottleneck", "hidden_sizes": (64, 128)}
CIFAR: dict[str, Any] = {"stem_type": "cifar", "hidden_sizes": (16, 32, 64), "depths": (1, 1, 1)}
NETWORKS: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "basic": ((3, 33, 30), {}),
    "one image": ((1, 41, 43), {}),
    "two images": ((2, 33, 30), {"hidden_sizes": (32, 16)}),
    "17 images": ((17, 15, 13), {}),
    "four stages": ((5, 45, 65), {"hidden_sizes": (16, 32, 32, 64), "depths": (1, 1, 1, 1)}),
    "bottleneck": ((3, 33, 30), BOTTLENECK),
    "bottleneck v1": ((4, 29, 37), {**BOTTLENECK, "downsample_in_bottleneck": True}),
    "stride in the first stage": ((3, 33, 49), {"downsample_in_first_stage": True}),
    "v1, stride in the first stage": (
        (3, 40, 31), {**BOTTLENECK, "downsample_in_bottleneck": True, "downsample_in_first_stage": True},
    ),
    "cifar": ((5, 17, 14), {**CIFAR, "shortcut_type": "zero_pad"}),
    "cifar with projections": ((3, 12, 15), CIFAR),
    "zeros for odd channels": (
        (3, 33, 30), {"shortcut_type": "zero_pad", "embedding_size": 6, "hidden_sizes": (6, 21)},
    ),
    "plain": ((3, 14, 17), {**CIFAR, "shortcut_type": "none", "depths": (2, 1, 1)}),
    "plain bottleneck": ((3, 33, 30), {**BOTTLENECK, "shortcut_type": "none"}),
    "deep stem": ((3, 33, 30), {"stem_type": "deep", "stem_width": 8}),
    "deep stem of whole blocks": ((2, 35, 36), {**BOTTLENECK, "stem_type": "deep", "stem_width": 32}),
    "tiered stem, caffe pool": ((3, 31, 30), {"stem_type": "deep_tiered", "stem_width": 12, "stem_pool": "caffe"}),
    "caffe pool that hangs over": ((3, 29, 36), {"stem_pool": "caffe"}),
    "output stride 8": (
        (3, 41, 39),
        {**BOTTLENECK, "output_stride": 8, "hidden_sizes": (32, 32, 48, 64), "depths": (1, 1, 2, 1)},
    ),
    "output stride 16": (
        (3, 47, 50), {"output_stride": 16, "hidden_sizes": (16, 16, 32, 32), "depths": (1, 1, 1, 2)},
    ),
    "dilation wider than the map": (
        (4, 33, 9), {"output_stride": 8, "hidden_sizes": (16, 16, 16, 32), "depths": (1, 1, 1, 1)},
    ),
    "relu6": ((3, 33, 30), {"hidden_act": "relu6", "loudness": 4.0}),
    "relu6 bottleneck": ((3, 33, 30), {**BOTTLENECK, "hidden_act": "relu6", "loudness": 4.0}),
    "linear": ((3, 33, 30), {"hidden_act": "identity", "depths": (3, 2)}),
    "stochastic depth": ((6, 33, 30), {"drop_path_rate": 0.5, "depths": (2, 3)}),
    "stochastic depth, bottleneck": ((5, 33, 30), {**BOTTLENECK, "drop_path_rate": 0.7, "depths": (1, 3)}),
    "stochastic depth, linear": ((5, 33, 30), {"drop_path_rate": 0.6, "hidden_act": "identity"}),
    "stochastic depth, relu6": ((5, 33, 30), {"drop_path_rate": 0.6, "hidden_act": "relu6", "loudness": 4.0}),
    "odd channels": ((3, 33, 30), {"embedding_size": 7, "hidden_sizes": (11, 33)}),
    "bottleneck of odd channels": ((3, 33, 30), {**BOTTLENECK, "embedding_size": 5, "hidden_sizes": (13, 70)}),
    "wide bottleneck": ((2, 33, 30), {**BOTTLENECK, "width_per_group": 128}),
    "many channels": ((2, 13, 12), {**CIFAR, "embedding_size": 80, "hidden_sizes": (80, 144), "depths": (1, 1)}),
    "deep stages": ((2, 33, 30), {"depths": (4, 3), "drop_path_rate": 0.2}),
    "deep stages of bottlenecks": ((6, 33, 30), {**BOTTLENECK, "depths": (4, 2)}),
    "several groups of images": ((7, 17, 14), {**CIFAR, "embedding_size": 64, "hidden_sizes": (64,), "depths": (1,)}),
    "grey": ((3, 33, 30), {"num_channels": 1}),
    "two channels": ((3, 21, 18), {**CIFAR, "num_channels": 2}),
    "four channels": ((3, 33, 30), {"num_channels": 4, "stem_type": "deep", "stem_width": 8}),
    "a high picture": ((2, 470, 5), {**CIFAR, "hidden_sizes": (16,), "depths": (1,)}),
    "other eps and momentum": ((3, 33, 30), {"batch_norm_eps": 0.3, "batch_norm_momentum": 0.45}),
}  # fmt: skip


@functools.cache
def pair(name: str) -> Pair:
    """Shared by all tests; models are made anew for each."""
    shape, fields = NETWORKS[name]
    return Pair(shape, **fields)


@functools.cache
def expected(name: str) -> Results:
    return pair(name).expected()


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks(name: str) -> None:
    for winograd in (True, False):
        found = pair(name).found(winograd=winograd)
        assert_close("training by Winograd" if winograd else "training", found, expected(name), RMS, LARGEST)
        again = pair(name).found(winograd=winograd, checkpoint_activations=True)
        assert_same(again, found)


@pytest.mark.parametrize(
    "name",
    [
        "four stages",
        "bottleneck v1",
        "cifar",
        "output stride 8",
        "odd channels",
        "stochastic depth",
        "caffe pool that hangs over",
    ],
)
def test_every_processor(name: str, target: Target) -> None:
    for winograd in (True, False):
        found = pair(name).found(winograd=winograd, target=target)
        assert_close("training by Winograd" if winograd else "training", found, expected(name), RMS, LARGEST)


def test_activation_checkpointing_needs_less_memory() -> None:
    """Of many layers only a few maps are kept; the results above are the same to the last bit."""
    model = ResNetForImageClassification(npresnet.ResNetConfig(**{**CIFAR, "depths": (6, 6, 6)}), seed=0).train()
    sizes = []
    for checkpoints in (False, True):
        plan = TrainingPlan(graph_of(model), checkpoint_activations=checkpoints)
        assert plan.memory_bytes == 0
        plan.forward(pixels(4, 3, 24, 24))
        sizes.append(plan.memory_bytes)
    assert sizes[1] < 0.4 * sizes[0]


def test_weights_that_are_transformed_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is saved, not all of a layer's weights at once; the results are the same to the last bit."""
    for name in ("many channels", "several groups of images"):
        found = pair(name).found(checkpoint_activations=True)
        with monkeypatch.context() as patch:
            patch.setattr(convolver, "MOST_WEIGHTS", 1)
            assert_same(pair(name).found(checkpoint_activations=True), found)


def test_a_wide_picture() -> None:
    """Rows longer than a sum in float32 may be; all the gradients in them are alike, so that their sums round more."""
    wide = Pair((2, 9, 930), embedding_size=10, hidden_sizes=(10,), depths=(1,))
    assert_close("training, a wide picture", wide.found(), wide.expected(), 3e-5, 1e-4)


def test_relu6_cuts_off() -> None:
    """Otherwise the tests above would not see it."""
    for name in ("relu6", "relu6 bottleneck", "stochastic depth, relu6"):
        model = pair(name).model()
        draw_alike(model)
        with npresnet.use_backend("numpy"):
            states = model.resnet(pair(name).x, output_hidden_states=True).hidden_states
        assert all((state == 6).mean() > 0.01 for state in states)


# --------------------------------------------------------------------------------------------------- partly learning


def hold(model: Any, *stages: str) -> None:
    """Let BatchNorms use their running statistics while their parameters learn."""
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm2d) and (not stages or name.startswith(stages)):
            module.frozen = True


def only(*patterns: str) -> Callable[[Any], None]:
    """Let these learn and nothing else."""

    def freeze(model: Any) -> None:
        model.freeze("*")
        model.unfreeze(*patterns)

    return freeze


FROZEN: dict[str, Callable[[Any], Any]] = {
    "stem": lambda model: model.freeze("resnet.embedder.*"),
    "stem with its statistics": lambda model: model.freeze("resnet.embedder.*", hold_statistics=True),
    "first stage": lambda model: model.freeze("resnet.encoder.stages.0.*"),
    "all but the last stage": only("resnet.encoder.stages.1.*"),
    "statistics of all": hold,
    "statistics of the last stage": lambda model: hold(model, "resnet.encoder.stages.1"),
    "all but the stem": only("resnet.embedder.*"),
    "all but the stem, with statistics": lambda model: model.freeze("resnet.encoder.*", hold_statistics=True),
    "convolutions": lambda model: model.freeze("*.convolution.weight"),
    "normalisations": lambda model: model.freeze("*.normalization.*"),
    "gammas": lambda model: model.freeze("*.normalization.weight"),
    "betas": lambda model: model.freeze("*.normalization.bias"),
    "all but the shortcuts": only("*.shortcut.*"),
    "shortcuts": lambda model: model.freeze("*.shortcut.*"),
    "all but one beta": only("resnet.encoder.stages.0.layers.0.layer.0.normalization.bias"),
    "all but one shortcut's gamma": only("resnet.encoder.stages.1.layers.0.shortcut.normalization.weight"),
    "all but one convolution": only("resnet.encoder.stages.1.layers.0.layer.0.convolution.weight"),
    "all but the last convolution": only("resnet.encoder.stages.1.layers.0.layer.1.convolution.weight"),
    "first layers": lambda model: model.freeze("*.layers.0.layer.0.*", hold_statistics=True),
    "all": lambda model: model.freeze("*"),
    "all, with statistics": lambda model: model.freeze("*", hold_statistics=True),
}
LEARNERS: dict[str, dict[str, Any]] = {
    "basic": {},
    "bottleneck, stochastic depth": {**BOTTLENECK, "depths": (1, 2), "drop_path_rate": 0.5},
}


@pytest.mark.parametrize("network", LEARNERS)
@pytest.mark.parametrize("frozen", FROZEN)
def test_partly_frozen_networks(frozen: str, network: str) -> None:
    """A frozen parameter has no gradient; held statistics neither change nor take part in the gradient."""
    partly = Pair((4, 25, 22), FROZEN[frozen], **LEARNERS[network])
    before, found = buffers_of(partly.model()), partly.found()
    assert_close("training, partly frozen", found, partly.expected(), RMS, LARGEST)
    assert_same(partly.found(checkpoint_activations=True), found)
    for name, norm in partly.model().resnet.named_modules():
        if isinstance(norm, BatchNorm2d):
            changed = {key: not np.array_equal(found.buffers[key], before[key]) for key in before if name in key}
            assert set(changed.values()) == {not norm.frozen}, name
    learning = {name for name, p in partly.model().resnet.named_parameters() if p.requires_grad}
    assert {name for name, gradient in found.gradients.items() if gradient is not None} == learning


def test_only_the_classifier_learns() -> None:
    partly = Pair((4, 25, 22), lambda model: model.freeze("resnet.*"))
    rng = np.random.default_rng(4)
    upstream = rng.standard_normal((4, partly.config.num_labels)).astype(np.float32)
    model, double = partly.model(), partly.model(np.float64)
    step = CompiledStep(model)
    logits = step.forward(partly.x)
    step.backward(upstream)
    with npresnet.use_backend("numpy"):
        exact = double(partly.x.astype(np.float64)).logits
        double.backward(upstream)
    close("training, the classifier", logits, exact, RMS, LARGEST)
    for (name, own), (_, other) in zip(model.named_parameters(), double.named_parameters(), strict=True):
        assert (own.grad is None) == (not name.startswith("classifier")), name
        if own.grad is not None and other.grad is not None:
            close("training, the classifier", own.grad, other.grad, RMS, LARGEST)
    assert buffers_of(model).keys() == buffers_of(double).keys()
    for name, own in buffers_of(model).items():
        close("training, the classifier", own, buffers_of(double)[name], RMS, LARGEST)


# ------------------------------------------------------------------------------------------ one convolution at a time

ONE_LAYER: dict[str, Any] = {"stem_type": "cifar", "hidden_sizes": (16,), "depths": (1,)}
DOWN: dict[str, Any] = {"downsample_in_first_stage": True}
LAYERS: dict[str, dict[str, Any]] = {
    "basic": ONE_LAYER,
    "basic, stride 2": {**ONE_LAYER, **DOWN},
    "bottleneck": {**ONE_LAYER, "layer_type": "bottleneck", "embedding_size": 64, "hidden_sizes": (64,)},
    "bottleneck, stride 2": {**ONE_LAYER, **DOWN, "layer_type": "bottleneck", "hidden_sizes": (64,)},
    "bottleneck v1, stride 2": {
        **ONE_LAYER, **DOWN, "layer_type": "bottleneck", "hidden_sizes": (64,), "downsample_in_bottleneck": True,
    },
    "zeros, stride 2": {**ONE_LAYER, **DOWN, "shortcut_type": "zero_pad", "hidden_sizes": (24,)},
}  # fmt: skip


@contextmanager
def forced(tile: int) -> Iterator[None]:
    """Winograd's algorithm with tiles of so many rows wherever it is possible, also where it is not worth it."""
    costs = {form: -1e9 if form[0] == tile else 1e9 for form in planning.TRANSFORM}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "TRANSFORM", costs)
        yield


def how(plan: TrainingPlan) -> list[str]:
    """What the steps of the last batch do."""
    return [step.how for step in plan.profile(1)]


@pytest.mark.parametrize("width", range(1, 13))
def test_winograd_on_maps_of_every_size(width: int) -> None:
    """Whole tiles and parts of tiles occur. The gradient of the layer's input is added to the shortcut's in place."""
    for name, stride in (("basic", 1), ("basic, stride 2", 2)):
        for height in sorted({1 + width * 5 % 4, 5 + width % 4, 12 - width % 4}):
            odd = [(stride - 1) * (n // 3 % 2) for n in (height, width)]
            single = Pair((6, height * stride - odd[0], width * stride - odd[1]), **LAYERS[name])
            exact = single.expected()
            for tile in (4, 2):
                with forced(tile):
                    model = single.model()
                    plan = TrainingPlan(graph_of(model))
                    found = compiled_step(plan, model, single.x, single.upstream)
                assert_close(f"training, one layer, {tile}x{tile}", found, exact, 4e-6, 4e-5)
                steps = how(plan)
                assert steps.count(f"Winograd {tile}x{tile}: outputs") == (4 if stride == 1 else 2)
                assert steps.count(f"Winograd {tile}x{tile}, stride 2: outputs") == stride - 1


@pytest.mark.parametrize("width", range(1, 13))
def test_direct_convolutions_on_maps_of_every_size(width: int) -> None:
    """Tiles at the end of a row overlap, but where something is added in place no pixel may be counted twice."""
    for number, name in enumerate(LAYERS):
        for height in {1 + (width * 5 + number) % 12, 1 + (width * 7 + 3 * number) % 4}:
            single = Pair((6, height, width), **LAYERS[name])
            found = single.found(winograd=False)
            assert_close("training, one layer, direct", found, single.expected(), 2e-6, 3e-5)


@pytest.mark.parametrize("channels", [7, 11, 33, 48, 100])
def test_direct_convolutions_of_other_channels(channels: int, target: Target) -> None:
    """Blocks that are not full, and numbers of blocks that no tile divides."""
    for layer, out in (("basic", channels), ("bottleneck", 4 * channels)):
        fields = {"layer_type": layer, "embedding_size": 21, "hidden_sizes": (out,)}
        single = Pair((6, 6, 7), **{**ONE_LAYER, **DOWN, **fields})
        found = single.found(winograd=False, target=target)
        assert_close("training, one layer, direct", found, single.expected(), 2e-6, 3e-5)


# -------------------------------------------------------------------------------------------------- steps in a row


@functools.cache
def small_pair() -> Pair:
    return Pair((4, 17, 14), stem_type="cifar", layer_type="bottleneck", hidden_sizes=(64, 32), depths=(2, 1))


def new_step(model: Any, x: np.ndarray, upstream: np.ndarray) -> Results:
    """What a new plan makes of a copy of a model as it is, with gradients from nothing."""
    other = copy.deepcopy(model)
    other.zero_grad()
    for p in other.parameters():
        p.data = np.array(p.data, np.float32, order="C")
    return compiled_step(TrainingPlan(graph_of(other)), other, x, upstream)


def test_repeated_steps_are_the_same() -> None:
    """To the last bit, on any number of threads: no step finds traces of the one before."""
    for name in ("four stages", "bottleneck", "output stride 8", "stochastic depth", "caffe pool that hangs over"):
        first = None
        for threads in (1, 2, 3, 5):
            model = pair(name).model()
            buffers = copy.deepcopy(buffers_of(model))
            plan = TrainingPlan(graph_of(model), num_threads=threads)
            for _ in range(3):
                model.zero_grad()
                model.resnet.load_state_dict(buffers, strict=False)
                found = compiled_step(plan, model, pair(name).x, pair(name).upstream)
                first = first or found
                assert_same(found, first)


def test_gradients_add_up() -> None:
    """Over two passes; and begin anew once they are set to None."""
    few = small_pair()
    other = np.random.default_rng(9).standard_normal(few.upstream.shape).astype(np.float32)
    model, double = few.model(), few.model(np.float64)
    plan = TrainingPlan(graph_of(model))
    for upstream in (few.upstream, other):
        found = compiled_step(plan, model, few.x, upstream)
        exact = ordinary_step(double, few.x, upstream)
        assert_close("training, two passes", found, exact, RMS, LARGEST)
    model.zero_grad()
    again = compiled_step(plan, model, few.x, few.upstream)
    assert again.buffers["embedder.embedder.normalization.num_batches_tracked"] == 4  # one of them made the pair
    for name, gradient in few.found().gradients.items():
        np.testing.assert_array_equal(again.gradients[name], gradient)


def test_gradients_add_up_where_some_parameters_have_none() -> None:
    """Half of the gradients are forgotten between two passes: of every normalisation only one of two."""
    few = small_pair()
    model = few.model()
    plan = TrainingPlan(graph_of(model))
    once = compiled_step(plan, model, few.x, few.upstream).gradients
    forgotten = [name for name in once if name.endswith((".0.convolution.weight", "normalization.weight"))]
    parameters = dict(model.resnet.named_parameters())
    for name in forgotten:
        parameters[name].grad = None
    twice = compiled_step(plan, model, few.x, few.upstream).gradients
    for name, gradient in once.items():
        assert gradient is not None
        expected = gradient if name in forgotten else gradient + gradient
        np.testing.assert_array_equal(twice[name], expected, err_msg=name)


@pytest.mark.parametrize("kind", ["float32", "float64", "Fortran", "strided", "read-only"])
def test_gradients_are_added_to_an_array_of_the_caller(kind: str) -> None:
    few = small_pair()
    model, rng = few.model(), np.random.default_rng(3)
    own: dict[str, np.ndarray] = {}
    for name, p in model.resnet.named_parameters():
        array = rng.standard_normal(p.shape).astype(np.float64 if kind == "float64" else np.float32)
        if kind == "Fortran":
            array = np.asfortranarray(array)
        elif kind == "strided":
            array = np.repeat(array, 2, axis=0)[::2]
        array.flags.writeable = kind != "read-only"
        own[name] = array.copy()
        p.grad = array
    given_arrays = [p.grad for p in model.resnet.parameters()]
    found = compiled_step(TrainingPlan(graph_of(model)), model, few.x, few.upstream).gradients
    for name, gradient in few.found().gradients.items():
        np.testing.assert_array_equal(found[name], own[name].astype(np.float32) + gradient, err_msg=name)
    if kind == "read-only":
        assert all(np.array_equal(a, b) for a, b in zip(given_arrays, own.values(), strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", ["in place", "replaced", "Fortran", "read-only", "loaded"])
def test_weights_change_between_steps(change: str) -> None:
    few = small_pair()
    model, rng = few.model(), np.random.default_rng(8)
    plan = TrainingPlan(graph_of(model))
    compiled_step(plan, model, few.x, few.upstream)
    model.zero_grad()
    if change == "loaded":
        model.load_state_dict(ResNetForImageClassification(few.config, seed=5).state_dict())
    else:
        for p in model.parameters():
            data = (p.data + 0.1 * rng.standard_normal(p.shape)).astype(np.float32)
            if change == "in place":
                p.data[...] = data
            else:
                p.data = np.asfortranarray(data) if change == "Fortran" else data
                p.data.flags.writeable = change != "read-only"
    expected = new_step(model, few.x, few.upstream)
    found = compiled_step(plan, model, few.x, few.upstream)
    assert_same(found, expected)
    assert not np.allclose(found.pooled, few.found().pooled, atol=1e-3)


@pytest.mark.parametrize("change", ["in place", "replaced", "float64", "strided", "read-only"])
@pytest.mark.parametrize("held", [True, False])
def test_statistics_change_between_steps(held: bool, change: str) -> None:
    few = small_pair()
    model, rng = few.model(), np.random.default_rng(8)
    if held:
        hold(model)
    plan = TrainingPlan(graph_of(model))
    compiled_step(plan, model, few.x, few.upstream)
    model.zero_grad()
    given_arrays = []
    for norm in norms_of(model):
        for name in ("running_mean", "running_var"):
            new = rng.uniform(0.5, 1.5, norm.weight.shape).astype(np.float32)
            if change == "in place":
                getattr(norm, name)[...] = new
                continue
            if change == "float64":
                new = new.astype(np.float64)
            elif change == "strided":
                new = np.repeat(new, 2)[::2]
            new.flags.writeable = change != "read-only"
            setattr(norm, name, new)
            given_arrays.append((new, new.copy()))
    other = copy.deepcopy(model)
    for norm in norms_of(other):
        norm.running_mean, norm.running_var = (
            np.array(array, np.float32) for array in (norm.running_mean, norm.running_var)
        )
    before = copy.deepcopy(buffers_of(other))
    expected = new_step(other, few.x, few.upstream)
    found = compiled_step(plan, model, few.x, few.upstream)
    assert_same(found, expected)
    assert all(np.array_equal(found.buffers[n], before[n]) == held for n in before if "running" in n)
    if change == "read-only":
        assert all(np.array_equal(array, same) for array, same in given_arrays)


def test_another_batch_in_between() -> None:
    """Of another size, another picture size, and the first again."""
    few = small_pair()
    model = few.model()
    plan = TrainingPlan(graph_of(model))
    for shape in ((4, 17, 14), (2, 17, 14), (4, 9, 21), (4, 17, 14)):
        x, upstream = pixels(shape[0], 3, *shape[1:], seed=6), few.upstream[: shape[0]]
        model.zero_grad()
        expected = new_step(model, x, upstream)
        assert_same(compiled_step(plan, model, x, upstream), expected)


def test_learning_is_switched_in_between() -> None:
    """Parameters, held statistics, and stochastic depth, from step to step."""
    few = Pair((4, 17, 14), stem_type="cifar", hidden_sizes=(16, 32), depths=(2, 2), drop_path_rate=0.4)
    model = few.model()
    plan = TrainingPlan(graph_of(model))

    def rates(value: float) -> None:
        for _, module in model.named_modules():
            if isinstance(module, Dropout) and module.whole_samples:
                module.rate = value

    changes: list[Callable[[], Any]] = [
        lambda: None,
        lambda: model.freeze("resnet.embedder.*", "*.layers.1.*"),
        lambda: hold(model, "resnet.encoder.stages.0"),
        lambda: rates(0.0),
        lambda: model.freeze("resnet.*"),
        lambda: model.unfreeze("resnet.*"),
        lambda: rates(0.25),
        lambda: rates(0.75),
        lambda: model.freeze("*.shortcut.*", hold_statistics=True),
        lambda: model.unfreeze("*"),
    ]
    for change in changes:
        change()
        model.zero_grad()
        expected = new_step(model, few.x, few.upstream)
        assert_same(compiled_step(plan, model, few.x, few.upstream), expected)


def test_momentum_changes_between_steps() -> None:
    """And eps: what a BatchNorm says at the moment counts."""
    few = small_pair()
    model = few.model()
    plan = TrainingPlan(graph_of(model))
    for momentum, eps in ((0.1, 1e-5), (0.7, 1e-5), (0.7, 0.2)):
        for norm in norms_of(model):
            norm.momentum, norm.eps = momentum, eps
        model.zero_grad()
        expected = new_step(model, few.x, few.upstream)
        assert_same(compiled_step(plan, model, few.x, few.upstream), expected)


def test_the_batch_may_be_of_any_layout() -> None:
    few = small_pair()
    expected = few.found()
    for x in (np.asfortranarray(few.x), np.repeat(few.x, 2, axis=3)[..., ::2], few.x.astype(np.float64)):
        for upstream in (np.asfortranarray(few.upstream), few.upstream.astype(np.float64)):
            model = few.model()
            assert_same(compiled_step(TrainingPlan(graph_of(model)), model, x, upstream), expected)
    model = few.model()
    plan, x = TrainingPlan(graph_of(model)), few.x.copy()
    x.flags.writeable = False
    pooled = plan.forward(x)
    x.flags.writeable = True
    x[...] = np.nan  # whoever called has the batch back
    plan.backward(few.upstream)
    assert np.array_equal(pooled, expected.pooled)
    assert all(np.array_equal(g, expected.gradients[n]) for n, g in gradients_of(model).items())  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [7, 16, 48])
def test_features_belong_to_the_caller(channels: int) -> None:
    """The next batch does not change them; nor those of a single image, of which every block is whole."""
    single = Pair((3, 5, 6), **{**ONE_LAYER, "hidden_sizes": (channels,)})
    plan = TrainingPlan(graph_of(single.model()))
    for images in (3, 1):
        pooled = plan.forward(single.x[:images])
        kept = pooled.copy()
        plan.backward(single.upstream[:images])
        plan.forward(single.x[:images] + 1)
        assert np.array_equal(pooled, kept)
        pooled[...] = 0


def test_two_models_take_turns() -> None:
    """Between forward and backward of one, the other does the same."""
    pairs = [small_pair(), pair("four stages")]
    models = [each.model() for each in pairs]
    plans = [TrainingPlan(graph_of(model)) for model in models]
    found = [plan.forward(each.x) for plan, each in zip(plans, pairs, strict=True)]
    for plan, each in zip(plans, pairs, strict=True):
        plan.backward(each.upstream)
    for each, model, pooled in zip(pairs, models, found, strict=True):
        assert_same(Results(pooled, gradients_of(model), buffers_of(model)), each.found())


def test_two_models_in_two_threads() -> None:
    pairs = [small_pair(), pair("four stages")]
    expected = [each.found() for each in pairs]
    results: list[Any] = [None, None]
    barrier = threading.Barrier(2, timeout=60)

    def work(number: int) -> None:
        barrier.wait()
        try:
            results[number] = [pairs[number].found(num_threads=2) for _ in range(3)]
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    for found, exact in zip(results, expected, strict=True):
        assert isinstance(found, list), found
        for one in found:
            assert_same(one, exact)


# ---------------------------------------------------------------------------------------------------- unusual numbers


def test_the_first_of_equal_numbers_wins_in_the_pool() -> None:
    """Pixels are few different integers, which the stem hands to the pool as they are: every window has ties."""
    config = npresnet.ResNetConfig(
        layer_type="basic", embedding_size=16, hidden_sizes=(16,), depths=(1,), num_channels=1, num_labels=0
    )
    models = []
    for dtype in (np.float32, np.float64):
        model = ResNetForImageClassification(config, seed=0).astype(dtype).train()
        stem = model.resnet.embedder.embedder
        stem.convolution.weight.data[...] = 0
        stem.convolution.weight.data[:, 0, 3, 3] = 1 + np.arange(16) / 4
        stem.normalization.frozen, stem.normalization.eps = True, 0.0
        models.append(model)
    x = np.random.default_rng(1).integers(-1, 3, (3, 1, 38, 41)).astype(np.float32)
    upstream = np.random.default_rng(2).standard_normal((3, 16)).astype(np.float32)
    model, double = models
    statistics = buffers_of(model)
    with npresnet.use_backend("numpy"):
        widen_gaps(double, x.astype(np.float64))
    for each in models:
        each.load_state_dict({**double.state_dict(), **{f"resnet.{name}": a for name, a in statistics.items()}})
    found = compiled_step(TrainingPlan(graph_of(model)), model, x, upstream)
    assert_close("training, ties in the pool", found, ordinary_step(double, x, upstream), RMS, LARGEST)


@pytest.mark.parametrize("held", [True, False])
def test_a_number_that_is_none(held: bool) -> None:
    """Whatever comes into contact with it is none either, here as there; with held statistics, in its image only."""
    few = Pair((3, 33, 30), hold if held else None, shortcut_type="zero_pad")
    x = few.x.copy()
    x[1, 0, 17, 3] = np.nan
    model, double = few.model(), few.model(np.float64)
    found = compiled_step(TrainingPlan(graph_of(model)), model, x, few.upstream)
    with np.errstate(invalid="ignore"):
        exact = ordinary_step(double, x, few.upstream)
    assert np.array_equal(np.isnan(found.pooled), np.isnan(exact.pooled))
    assert np.isnan(found.pooled).all(axis=1).tolist() == ([False, True, False] if held else [True] * 3)
    for name, gradient in exact.gradients.items():
        assert np.array_equal(np.isnan(found.gradients[name]), np.isnan(gradient)), name  # type: ignore[arg-type]
    for name, array in exact.buffers.items():
        assert np.array_equal(np.isnan(found.buffers[name]), np.isnan(array)), name


@pytest.mark.parametrize("checkpoints", [False, True])
@pytest.mark.parametrize("name", ["four stages", "bottleneck v1", "cifar", "output stride 8", "odd channels", "relu6"])
def test_nothing_is_left_of_a_batch_of_nan(name: str, checkpoints: bool) -> None:
    """All memory that a step reads is written by it, or zero: borders, lanes without a channel, ends of tiles."""
    few = pair(name)
    model = few.model()
    buffers = buffers_of(model)
    plan = TrainingPlan(graph_of(model), checkpoint_activations=checkpoints)
    ruined = compiled_step(plan, model, np.full_like(few.x, np.nan), np.full_like(few.upstream, np.nan))
    assert np.isnan(ruined.pooled).all()
    model.zero_grad()
    model.resnet.load_state_dict(buffers, strict=False)
    assert_same(compiled_step(plan, model, few.x, few.upstream), few.found())


def test_statistics_of_numbers_far_from_zero() -> None:
    """The mean is a thousand times the deviation; squares must not swallow the variance."""
    model = ResNetForImageClassification(npresnet.ResNetConfig(**CIFAR, embedding_size=16), seed=0).train()
    rng = np.random.default_rng(1)
    x = (1000 + rng.standard_normal((4, 3, 17, 14))).astype(np.float32)
    norm = norms_of(model)[0]
    stem = model.resnet.embedder.embedder
    stem.convolution.weight.data[...] = 0
    stem.convolution.weight.data[:, 0, 1, 1] = 1 + np.arange(16, dtype=np.float32) / 16  # exact, and no border
    norm.momentum = 1.0
    TrainingPlan(graph_of(model)).forward(x)
    z = x[:, :1].astype(np.float64) * stem.convolution.weight.data[:, 0, 1, 1].reshape(-1, 1, 1)
    agree("training, far variance", norm.running_var, z.var(axis=(0, 2, 3), ddof=1), 3e-4)  # z is rounded to 6e-5
    agree("training, far mean", norm.running_mean, z.mean(axis=(0, 2, 3)), 2e-7)


# -------------------------------------------------------------------------------------------------------------- errors


def test_backward_needs_a_forward_pass() -> None:
    few = small_pair()
    model = few.model()
    plan = TrainingPlan(graph_of(model))
    with pytest.raises(RuntimeError, match="forward"):
        plan.backward(few.upstream)
    assert all(gradient is None for gradient in gradients_of(model).values())
    found = compiled_step(plan, model, few.x, few.upstream)
    with pytest.raises(RuntimeError, match="forward"):
        plan.backward(few.upstream)
    assert_same(Results(found.pooled, gradients_of(model), buffers_of(model)), few.found())


def test_forward_twice_and_backward_once() -> None:
    """A forward pass may be thrown away; its statistics stay."""
    few = small_pair()
    model = few.model()
    plan = TrainingPlan(graph_of(model))
    plan.forward(few.x[:2] + 1)
    found = compiled_step(plan, model, few.x, few.upstream)
    expected = few.found()
    assert np.array_equal(found.pooled, expected.pooled)
    for name, gradient in expected.gradients.items():
        np.testing.assert_array_equal(found.gradients[name], gradient)
    assert found.buffers["embedder.embedder.normalization.num_batches_tracked"] == 3


def refuses(plan: TrainingPlan, model: Any, call: Callable[[], Any]) -> None:
    """The error is a ValueError, nothing has changed, and the next step is as good as any."""
    few, before = small_pair(), buffers_of(model)
    with pytest.raises(ValueError):  # noqa: PT011 - the words may change
        call()
    for name, array in buffers_of(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    model.zero_grad()
    assert_same(compiled_step(plan, model, few.x, few.upstream), new_step_before(model, before))


def new_step_before(model: Any, buffers: dict[str, np.ndarray]) -> Results:
    """A step of a copy that still has these statistics."""
    few, other = small_pair(), copy.deepcopy(model)
    other.resnet.load_state_dict(buffers, strict=False)
    return new_step(other, few.x, few.upstream)


@pytest.mark.parametrize(
    "shape", [(2, 1, 17, 14), (2, 4, 17, 14), (3, 17, 14), (0, 3, 17, 14), (2, 3, 0, 14), (1, 3, 1, 1)]
)
def test_bad_batches(shape: tuple[int, ...]) -> None:
    """The ordinary path refuses all of them."""
    model = small_pair().model()
    plan = TrainingPlan(graph_of(model))
    x = pixels(*shape)
    with pytest.raises(ValueError), npresnet.use_backend("numpy"):  # noqa: PT011
        small_pair().model()(x)
    refuses(plan, model, lambda: plan.forward(x))


@pytest.mark.parametrize("shape", [(1, 32), (5, 32), (4, 20), (4, 48), (4, 32, 1, 1)])
def test_bad_upstream_gradients(shape: tuple[int, ...]) -> None:
    few = small_pair()
    model = few.model()
    plan = TrainingPlan(graph_of(model))
    plan.forward(few.x)
    refuses(plan, model, lambda: plan.backward(pixels(*shape)))


def test_a_picture_too_small() -> None:
    """The pool of a Caffe stem has no padding."""
    config = npresnet.ResNetConfig(layer_type="basic", hidden_sizes=(16,), depths=(1,), stem_pool="caffe")
    model = ResNetForImageClassification(config, seed=0).train()
    plan = TrainingPlan(graph_of(model))
    x, upstream = pixels(2, 3, 9, 9), np.ones((2, 16), np.float32)
    expected = new_step(model, x, upstream)
    for size in ((2, 9), (9, 4), (1, 1)):
        small = pixels(2, 3, *size)
        with pytest.raises(ValueError), npresnet.use_backend("numpy"):  # noqa: PT011
            copy.deepcopy(model)(small)
        with pytest.raises(ValueError, match="pixel"):
            plan.forward(small)
        with pytest.raises(RuntimeError, match="forward"):
            plan.backward(upstream)
    assert_same(compiled_step(plan, model, x, upstream), expected)


def test_weights_of_another_number_format() -> None:
    """``data - np.float64(rate) * gradient`` is float64. They are converted or refused, never taken for float32."""
    few = small_pair()
    for which in (0, 1, 2):
        model = few.model()
        plan = TrainingPlan(graph_of(model))
        parameter = list(model.parameters())[which]
        parameter.data = parameter.data.astype(np.float64)
        try:
            found = compiled_step(plan, model, few.x, few.upstream)
        except (TypeError, ValueError):
            continue
        assert_same(found, few.found())


def test_no_backward_after_a_forward_pass_that_failed() -> None:
    """There is nothing to go back from: the maps are those of another batch. (Of none, and the process dies.)"""
    few = small_pair()
    model = few.model()
    plan = TrainingPlan(graph_of(model))
    compiled_step(plan, model, few.x, few.upstream)
    weight = model.resnet.embedder.embedder.convolution.weight
    before = weight.data
    weight.data = before.astype(np.float64)
    with pytest.raises(TypeError, match="float32"):
        plan.forward(few.x)
    with pytest.raises(RuntimeError, match="forward"):
        plan.backward(few.upstream)


def test_a_gradient_of_another_shape() -> None:
    """Of a parameter that somebody has set: here it is too large; memory beyond a smaller one would be spoilt."""
    few = small_pair()
    model = few.model()
    plan = TrainingPlan(graph_of(model))
    norm = norms_of(model)[0]
    norm.bias.grad = np.zeros(3 * norm.bias.size, np.float32)
    plan.forward(few.x)
    with pytest.raises(ValueError, match="shape"):
        plan.backward(few.upstream)


NOT_COVERED: dict[str, tuple[dict[str, Any], str]] = {
    "gelu": ({"hidden_act": "gelu"}, "activation"),
    "resnet-d": ({"shortcut_type": "avg_down"}, "average pool"),
    "max": ({"global_pool": "max"}, "global average"),
    "catavgmax": ({"global_pool": "catavgmax"}, "global average"),
    "groups": ({**BOTTLENECK, "groups": 2}, "groups"),
}


@pytest.mark.parametrize("name", NOT_COVERED)
def test_what_is_not_covered_is_said(name: str) -> None:
    fields, reason = NOT_COVERED[name]
    model = ResNetForImageClassification(npresnet.ResNetConfig(**{**SMALL, **fields}), seed=0)
    assert reason in (not_covered(graph_of(model)) or "")
    with pytest.raises(ValueError, match=reason):
        CompiledStep(model)


def test_float64_is_not_covered() -> None:
    for fields in NETWORKS.values():
        config = npresnet.ResNetConfig(**{**SMALL, **{k: v for k, v in fields[1].items() if k != "loudness"}})
        model = ResNetForImageClassification(config, seed=0)
        assert not_covered(graph_of(model)) is None
        assert "float32" in (not_covered(graph_of(model.astype(np.float64))) or "")


# --------------------------------------------------------------------------------------------------- any network


DRAWN = (
    "num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "downsample_in_first_stage",
    "downsample_in_bottleneck", "stem_type", "stem_width", "stem_pool", "output_stride", "drop_path_rate",
    "batch_norm_eps", "width_per_group",
)  # fmt: skip


def distance(found: Results, exact: Results) -> float:
    """The largest error of any array, relative to its own size, but small arrays of small numbers count less."""
    pairs = [(found.pooled, exact.pooled)]
    pairs += [(found.buffers[n], array) for n, array in exact.buffers.items()]
    gradients = [(found.gradients[n], array) for n, array in exact.gradients.items() if array is not None]
    usual = float(np.median([_rms(exact) for _, exact in gradients]))
    errors = [_rms(own - exact) / (_rms(exact) + 1e-30) for own, exact in pairs]
    errors += [_rms(own - exact) / (_rms(exact) + 0.1 * usual) for own, exact in gradients if own is not None]
    return max(errors)


def _rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_network(data: st.DataObject) -> None:
    """Of any covered configuration: errors are at most a few times those of the ordinary path in float32."""
    config = data.draw(configurations())
    act = data.draw(st.sampled_from(["relu", "relu6", "identity"]))
    shortcut = "projection" if config.shortcut_type == "avg_down" else config.shortcut_type
    fields = {key: getattr(config, key) for key in DRAWN} | {"hidden_act": act, "shortcut_type": shortcut}
    height, width, images = (data.draw(st.integers(low, high)) for low, high in ((5, 40), (5, 40), (2, 5)))
    try:
        drawn = Pair((images, height, width), **fields, num_labels=0)
    except ValueError:  # the image is too small
        assume(False)
    exact = drawn.expected()
    usual = max(3e-7, distance(drawn.ordinary_in_float32(), exact))
    assume(usual < 3e-6)  # a BatchNorm of few values can have hardly any variance
    for winograd in (True, False):
        found = drawn.found(winograd=winograd)
        error = distance(found, exact) / usual
        kind = "training, any network, times the ordinary error"
        SEEN[kind] = max(error, SEEN.get(kind, (0.0, 0.0))[0]), 4
        assert error < 4


def test_what_is_no_picture_and_no_number_of_threads() -> None:
    few = small_pair()
    with pytest.raises(TypeError, match="floating point"):
        TrainingPlan(graph_of(few.model())).forward(np.zeros((2, 3, 33, 30), np.uint8))
    for threads in (0, -1):
        with pytest.raises(ValueError, match="num_threads must be at least 1"):
            TrainingPlan(graph_of(few.model()), num_threads=threads)
