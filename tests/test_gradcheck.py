"""The gradient check itself: it must pass what is right, find what is wrong, and refuse what it cannot judge."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Array, frozen, normal, seeds

import npresnet
from npresnet import ops
from npresnet.gradcheck import (
    GradientError,
    GradientReport,
    gradcheck,
    gradcheck_module,
    numeric_gradient,
    relative_error,
)
from npresnet.nn import Activation, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Module, Sequential

rng = np.random.default_rng(0)
X, W, B = normal(rng, (2, 3, 6, 5)), normal(rng, (4, 3, 3, 3)), normal(rng, (4,))


def power(x: Array) -> tuple[Array, Array]:
    """x^3 and the cache that its derivative needs."""
    return x**3, x


def power_backward(dy: Array, x: Array) -> Array:
    return dy * 3 * x**2


# -------------------------------------------------------------------------------------------------- what is right


def test_right_gradients() -> None:
    report = gradcheck(ops.conv2d, ops.conv2d_backward, X, W, B)
    assert report.ok
    assert report
    assert report.raise_if_wrong() is report
    assert [array.name for array in report.arrays] == ["x", "weight", "bias"]
    assert report["x"].shape == (2, 3, 6, 5)
    assert report["x"].checked == 100  # a sample of 180
    assert report["bias"].checked == 4  # all
    assert report.error < 1e-8  # the error that the documentation promises
    with pytest.raises(KeyError, match="no array 'w' in this report; there are"):
        report["w"]


def test_the_seed_decides() -> None:
    first, second = (gradcheck(ops.conv2d, ops.conv2d_backward, X, W, B, seed=3) for _ in range(2))
    assert first == second
    assert first != gradcheck(ops.conv2d, ops.conv2d_backward, X, W, B, seed=4)


def test_upstream_gradient_is_random() -> None:
    seen = []

    def backward(dy: Array, x: Array) -> Array:
        seen.append(dy.copy())
        return power_backward(dy, x)

    assert gradcheck(power, backward, X)
    assert gradcheck(lambda x: (float((x**2).sum()), x), lambda dy, x: seen.append(dy) or 2 * x * dy, X)
    assert abs(seen[0].std() - 1) < 0.2
    assert np.unique(seen[0]).size == X.size
    assert isinstance(seen[1], float)
    assert seen[1] != 1


def test_gradients_may_be_missing() -> None:
    """A bias that was not given has None for its gradient; an array may go unchecked, but the table says so."""
    assert gradcheck(ops.conv2d, ops.conv2d_backward, X, W)
    report = gradcheck(lambda x, y: (x * y, y), lambda dy, y: (dy * y, None), X, X)
    assert report["y"].checked == 0
    assert "not checked" in repr(report)


def test_float32_is_converted() -> None:
    assert gradcheck(power, power_backward, X.astype(np.float32)).error < 1e-8


def test_two_steps_are_better_than_one() -> None:
    """A step of 3e-3 leaves central differences with an error of h^2 / 6, extrapolated ones with h^4 / 480."""
    report = gradcheck(lambda x: (np.sin(x), x), lambda dy, x: np.cos(x) * dy, X, h=3e-3, tolerance=1e-4)
    assert report.error < 1e-10


@pytest.mark.parametrize("scale", [1e-4, 1, 1e4])
def test_any_scale_of_the_output(scale: float) -> None:
    assert gradcheck(lambda x: (scale * np.sin(x), x), lambda dy, x: scale * np.cos(x) * dy, X)
    wrong = gradcheck(lambda x: (scale * np.sin(x), x), lambda dy, x: 1.001 * scale * np.cos(x) * dy, X)
    assert not wrong
    assert 1e-6 < wrong.error < 1e-3


def test_views_and_the_input_itself_as_output() -> None:
    assert gradcheck(lambda x: (x, None), lambda dy, cache: dy, X)
    assert gradcheck(lambda x: (x.transpose(), None), lambda dy, cache: dy.transpose(), X)
    assert gradcheck(lambda x: (x[:, :1], x.shape), lambda dy, shape: np.pad(dy, ((0, 0), (0, 2), (0, 0), (0, 0))), X)


# -------------------------------------------------------------------------------------------------- what is wrong


class Mistake(NamedTuple):
    """A popular wrong backward of batch normalisation, and the arrays whose gradient it gets wrong."""

    wrong: set[str]

    def backward(self, dy: Array, cache: ops.BatchNormCache) -> tuple[Array, Array, Array]:
        dx, dweight, dbias = ops.batchnorm2d_train_backward(dy, cache)
        if "x" in self.wrong:  # the statistics taken for constants
            dx = dy * (cache.weight * cache.inv_std)[:, None, None]
        if "bias" in self.wrong:
            dbias = dbias / len(dy)
        return dx, dweight * 1.001 if "weight" in self.wrong else dweight, dbias


@pytest.mark.parametrize("wrong", [{"x"}, {"weight"}, {"bias"}, {"x", "bias"}])
def test_wrong_gradients(wrong: set[str]) -> None:
    report = gradcheck(ops.batchnorm2d_train, Mistake(wrong).backward, X, B[:3], B[1:])
    assert not report
    assert {array.name for array in report.arrays if array.error > report.tolerance} == wrong
    for name in wrong:
        assert report[name].error > 1e-4
        assert "WRONG" in next(line for line in repr(report).splitlines() if line.startswith(name))


def test_worst_position() -> None:
    def backward(dy: Array, x: Array) -> Array:
        dx = power_backward(dy, x)
        dx[1, 2, 3, 4] += 0.5
        return dx

    report = gradcheck(power, backward, X, samples=1000)
    worst = report["x"].worst
    assert worst is not None
    assert worst.index == (1, 2, 3, 4)
    np.testing.assert_allclose(worst.difference, 0.5, rtol=1e-6)
    np.testing.assert_allclose(worst.numeric + worst.difference, worst.analytic)
    with pytest.raises(
        GradientError, match=r"gradient of x \(2, 3, 6, 5\) is wrong: at x\[1, 2, 3, 4\].*difference 0.5"
    ):
        report.raise_if_wrong()


def test_a_gradient_of_zero_is_wrong() -> None:
    assert gradcheck(power, lambda dy, x: 0 * x, X).error == 1
    assert gradcheck(lambda x: (0 * x, None), lambda dy, cache: dy, X).error == 1
    assert not gradcheck(lambda x: (0 * x, None), lambda dy, cache: 1e-6 * dy, X)


def test_all_ones_would_not_find_it() -> None:
    """Why dy is random: under dy = 1 nothing comes through batch normalisation, and 2 dx is as right as dx."""
    x, ones = X[:, :, :2, :2], np.ones((2, 3, 2, 2))
    measured = numeric_gradient(lambda x: ops.batchnorm2d_train(x, B[:3], B[1:])[0], x, ones)
    written = 2 * ops.batchnorm2d_train_backward(ones, ops.batchnorm2d_train(x, B[:3], B[1:])[1])[0]
    np.testing.assert_allclose(written, measured, atol=1e-8)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad: float) -> None:
    def backward(dy: Array, x: Array) -> Array:
        dx = power_backward(dy, x)
        dx[0, 0, 0, 0] = bad
        return dx

    with pytest.raises(GradientError, match="the gradient of x is not finite everywhere"):
        gradcheck(power, backward, X)
    with pytest.raises(ValueError, match="the output is not finite"):
        gradcheck(lambda x: (x * bad, None), lambda dy, cache: dy, X)


def test_wrong_shapes_and_numbers_of_gradients() -> None:
    with pytest.raises(GradientError, match=r"the gradient of x must have its shape \(2, 3, 6, 5\), found \(2, 3\)"):
        gradcheck(power, lambda dy, x: dy.sum(axis=(2, 3)), X)
    with pytest.raises(GradientError, match="must have its shape"):
        gradcheck(power, lambda dy, x: np.empty(0), X)
    with pytest.raises(ValueError, match=r"backward returned 1 gradient\(s\) for 2 array\(s\)"):
        gradcheck(lambda x, y: (x + y, None), lambda dy, cache: dy, X, X)
    with pytest.raises(ValueError, match=r"backward returned 2 gradient\(s\) for 1 array\(s\)"):
        gradcheck(power, lambda dy, x: (dy, dy), X)
    with pytest.raises(ValueError, match="no gradient at all"):
        gradcheck(power, lambda dy, x: None, X)
    with pytest.raises(ValueError, match="needs at least one array"):
        gradcheck(power, power_backward)


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="array 1 is int64, and only floating-point arrays can be differentiated"):
        gradcheck(ops.cross_entropy, lambda dy, cache: None, np.ones((2, 3)), [0, 1])
    with pytest.raises(TypeError, match="forward returned float32 for float64 input"):
        gradcheck(lambda x: (x.astype(np.float32), x), power_backward, X)
    with pytest.raises(TypeError, match="the gradient of x is float32"):
        gradcheck(power, lambda dy, x: power_backward(dy, x).astype(np.float32), X)
    with pytest.raises(ValueError, match=r"forward must return \(y, cache\), found ndarray"):
        gradcheck(lambda x: x, power_backward, X)
    with pytest.raises(TypeError, match="forward returned several outputs"):
        gradcheck(lambda x: ((x, x), None), power_backward, X)


def test_writing_to_an_argument() -> None:
    def in_place(dy: Array, y: Array) -> Array:
        dy[y <= 0] = 0
        return dy

    with pytest.raises(GradientError, match=r"wrote to their argument dy.*skip connection"):
        gradcheck(lambda x: (np.maximum(x, 0),) * 2, in_place, X)
    with pytest.raises(GradientError, match="wrote to their argument x"):
        gradcheck(lambda x: (np.multiply(x, 2, out=x), None), lambda dy, cache: 2 * dy, X)
    assert gradcheck(power, power_backward, frozen(X.copy()))  # X itself is never touched


def test_random_functions() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"the same input gave two different outputs: .* fixed seed"):
        gradcheck(lambda x: ops.dropout(x, 0.5, generator), ops.dropout_backward, X)


# ------------------------------------------------------------------------------------------------- kinks and ties


@given(seeds, st.integers(0, 19), st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9]), st.sampled_from([-1, 1]))
def test_kinks_within_the_step_are_rejected(seed: int, place: int, offset: float, side: int) -> None:
    """ReLU has two right answers at zero and a blend of both near it: nothing can be said there, either way."""
    h = 1e-5
    x = np.random.default_rng(seed).uniform(0.5, 2, 20) * np.random.default_rng(seed + 1).choice([-1, 1], 20)
    x[place] = side * offset * h
    report = gradcheck(lambda x: ops.activation(x, "relu"), ops.activation_backward, x, seed=seed, h=h)
    assert report
    assert (report["x"].checked, report["x"].rejected) == (19, 1)


def test_ties_are_rejected() -> None:
    x = np.random.default_rng(0).permutation(36).reshape(1, 1, 6, 6).astype(float)
    x[0, 0, 2, 2] = x[0, 0, 2, 3] = 50
    report = gradcheck(lambda x: ops.max_pool2d(x, 2), ops.max_pool2d_backward, x)
    assert report
    assert report["x"].rejected == 2


def test_jumps_are_rejected() -> None:
    """Away from them, the slope of a staircase is zero."""
    x = np.append(np.linspace(0.1, 0.9, 8), [1, 2, 3])
    report = gradcheck(lambda x: (np.floor(x), x), lambda dy, x: 0 * x, x)
    assert report
    assert report["x"].rejected == 3


def test_too_many_rejections() -> None:
    with pytest.raises(ValueError, match=r"x: 11 of 11 coordinates were rejected.*kink or a jump within h=1e-05"):
        gradcheck(lambda x: ops.activation(x, "relu"), ops.activation_backward, np.zeros((5, 5)))
    with pytest.raises(ValueError, match="x: 1 of 1 coordinates"):
        gradcheck(lambda x: ops.activation(x, "relu"), ops.activation_backward, np.zeros(1))


def test_a_kink_does_not_hide_a_mistake() -> None:
    x = np.append(np.zeros(5), np.linspace(0.1, 1, 20))
    wrong = gradcheck(lambda x: ops.activation(x, "relu"), lambda dy, cache: 1.01 * dy, x)
    assert wrong["x"].rejected == 5
    assert wrong.error > 4e-3


@pytest.mark.parametrize("x", [3.0, 9.0, 20.0, 40.0])
def test_saturation(x: float) -> None:
    """Where tanh is flat to the last digit, a slope of 1e-16 is as good as none; one of 0.01 is not."""
    points = np.full((2, 3), x)
    assert gradcheck(lambda x: ops.activation(x, "tanh"), ops.activation_backward, points)
    assert not gradcheck(lambda x: ops.activation(x, "tanh"), lambda dy, cache: 0.01 * dy, points)


# -------------------------------------------------------------------------------------------------------- modules


def small_network() -> Sequential:
    """One of everything, float32, with random parameters."""
    generator = np.random.default_rng(1)
    network = Sequential(
        Conv2d(2, 4, 3, bias=True),
        BatchNorm2d(4),
        Activation("silu"),
        Dropout(0.3, generator),
        Flatten(),
        Linear(64, 3),
    )
    for parameter in network.parameters():
        parameter.data = generator.standard_normal(parameter.shape).astype(np.float32)
    return network


@pytest.mark.parametrize("training", [True, False])
def test_modules(training: bool) -> None:
    network = small_network().train(training)
    x = normal(np.random.default_rng(0), (3, 2, 4, 4))
    before = copy.deepcopy([*network.named_parameters()]), network[3].rng.bit_generator.state, network[1].running_mean
    report = gradcheck_module(network, x).raise_if_wrong()
    assert [array.name for array in report.arrays] == ["input", *(name for name, _ in network.named_parameters())]
    assert all(array.checked >= min(3, np.prod(array.shape)) for array in report.arrays)
    for (_, parameter), (_, original) in zip(network.named_parameters(), before[0], strict=True):
        assert parameter.grad is None
        assert parameter.data.dtype == np.float32
        np.testing.assert_array_equal(parameter.data, original.data)
    assert network[3].rng.bit_generator.state == before[1]
    assert network[1].running_mean is before[2]
    assert network.training == training


def test_frozen_parameters_are_not_checked() -> None:
    network = small_network().train()
    network[0].weight.requires_grad = False
    report = gradcheck_module(network, normal(np.random.default_rng(0), (3, 2, 4, 4)))
    assert report
    assert report["0.weight"].checked == 0
    assert report["0.bias"].checked == 4


class Broken(Linear):
    """A linear layer with the mistake of the day."""

    def __init__(self, mistake: str) -> None:
        super().__init__(3, 2)
        self.mistake = mistake
        self.weight.data = np.ones((2, 3))

    def backward(self, dy: Array) -> Array:
        if self.mistake == "in place":
            dy *= 1
            dy += 1
        dx = super().backward(dy)
        if self.mistake == "forgotten":
            self.bias.grad = None
        elif self.mistake == "overwritten":
            self.weight.grad = self.weight.data
        return dx * (2 if self.mistake == "doubled" else 1)


@pytest.mark.parametrize(("mistake", "wrong"), [("doubled", "input"), ("overwritten", "weight")])
def test_wrong_modules(mistake: str, wrong: str) -> None:
    report = gradcheck_module(Broken(mistake), X[0, 0, :, :3])
    assert [array.name for array in report.arrays if array.error > report.tolerance] == [wrong]
    with pytest.raises(GradientError, match=f"the gradient of {wrong}"):
        report.raise_if_wrong()


def test_more_wrong_modules() -> None:
    assert gradcheck_module(Broken("nothing"), X[0, 0, :, :3])
    with pytest.raises(GradientError, match=r"backward left no gradient in the parameter bias \(2,\)"):
        gradcheck_module(Broken("forgotten"), X[0, 0, :, :3])
    with pytest.raises(GradientError, match="wrote to their argument dy"):
        gradcheck_module(Broken("in place"), X[0, 0, :, :3])


class Product(Module):
    """Two inputs, two outputs."""

    def forward(self, a: Array, b: Array) -> Any:
        self._keep((a, b))
        return a * b, a + b

    def backward(self, dy: Array) -> Any:
        a, b = self._take()
        return dy * b, dy * a


def test_several_inputs_and_outputs() -> None:
    report = gradcheck_module(Product(), X, X + 1, forward=lambda module, a, b: module(a, b)[0])
    assert report
    assert [array.name for array in report.arrays] == ["input 0", "input 1"]
    assert not gradcheck_module(Product(), X, X + 1, forward=lambda module, a, b: module(a, b)[1])
    with pytest.raises(TypeError, match="several outputs"):
        gradcheck_module(Product(), X, X)


# ---------------------------------------------------------------------------------------- the two small functions


@given(seeds)
def test_numeric_gradient(seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, dy = normal(generator, (2, 3)), normal(generator, (2, 3))
    np.testing.assert_allclose(numeric_gradient(np.sin, x, dy), np.cos(x) * dy, atol=1e-9)
    np.testing.assert_allclose(numeric_gradient(lambda x: float((x**2).sum()), x, 0.7), 0.7 * 2 * x, atol=1e-8)
    kept = numeric_gradient(lambda x: x, x, dy)  # the argument itself as output
    np.testing.assert_allclose(kept, dy, atol=1e-9)


def test_relative_error() -> None:
    assert relative_error([1.0, 2.0], [1.0, 2.0]) == 0
    np.testing.assert_allclose(relative_error([1.0, 2.0], [1.0, 2.2]), 0.2 / 4.2)
    assert relative_error([0.0], [1e-9]) == 0.1  # below 1e-8 the error is absolute
    assert relative_error([np.nan], [1.0]) == np.inf
    assert relative_error([], []) == 0
    with pytest.raises(ValueError, match=r"different shapes cannot be compared: \(1,\) and \(2,\)"):
        relative_error([1.0], [1.0, 1.0])


@pytest.mark.parametrize("first", ["", "import npresnet.gradcheck; ", "from npresnet.gradcheck import GradientError; "])
def test_npresnet_gradcheck_is_a_function(first: str) -> None:
    """Whether or not the module of the same name was imported before."""
    code = f"{first}import npresnet; print(npresnet.gradcheck(lambda x: (2 * x, 0), lambda dy, c: 2 * dy, [1.0]).ok)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
    assert isinstance(npresnet.gradcheck(power, power_backward, X), GradientReport)
