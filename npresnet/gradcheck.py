"""Numerical gradients: is a written backward pass the derivative of its forward pass?

For a *random* upstream gradient dy, the number ``L = sum(y * dy)`` has exactly the gradients that ``backward(dy)`` must
return. (An all-ones dy would hide mistakes: the gradient of batch normalisation vanishes under it.) L is a function
that can be tried out: move one coordinate of an input by a step h to either side, and look at the slopes.

- The mean of the slopes to the right and to the left, the *central* difference, is the derivative up to O(h^2). Two of
  them, with steps h and h / 2, combine to ``(4 D(h/2) - D(h)) / 3``, which is the derivative up to O(h^4) (Richardson).
- At a kink (ReLU at zero) or a tie (two equal pixels in a max-pool) there is no derivative to compare with. Around a
  smooth point D(h) = D(h/2), and right minus left slope is twice as large for h as for h / 2. Where one of the two
  fails, a kink lies within h, and the coordinate is *rejected*: another one is drawn, no tolerance is widened.
- Errors are relative, ``|a - n| / max(|a| + |n|, floor)``, as in CS231n. The floor is what float64 leaves undecided:
  y is rounded to 2.2e-16 of its size, or of the numbers that it came from, so a difference quotient is uncertain by
  some of that over h, 1e-9 in all. This uncertainty divided by the tolerance is the floor: a derivative near zero
  need not agree to more digits than it has.

The error a correct backward reaches: 1e-12 to 1e-8. A wrong one: 1e-3 to 1. Source: CS231n, "Gradient checks"; Press et
al., Numerical Recipes, section 5.7.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .gradreport import SMALLEST, ArrayReport, GradientError, GradientReport, Position, relative_error
from .nn import Module

Array = NDArray[np.float64]

__all__ = ["GradientError", "GradientReport", "gradcheck", "gradcheck_module", "numeric_gradient", "relative_error"]

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 100
"""How many units in the last place a result may be off after the sums inside an operation."""
PATIENCE = 10
"""How many more coordinates may be rejected than were checked before we give up."""


def gradcheck(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    *arrays: ArrayLike,
    seed: int = 0,
    h: float = 1e-5,
    tolerance: float = 1e-7,
    samples: int = 100,
) -> GradientReport:
    """Compare a written backward function with central differences of its forward function, in float64.

    Parameters
    ----------
    forward : function
        ``forward(*arrays) -> (y, cache)`` with y an array or, for a loss, a number. The same input must give the same
        output; what is not to be differentiated (stride, labels, a generator) belongs in a lambda.
    backward : function
        ``backward(dy, cache)`` -> one gradient, or a tuple of them in the order of the arrays. None is not checked.
    *arrays : floating-point arrays
        Where to differentiate; converted to float64.
    seed : int
        Draws dy, and the coordinates of arrays with more than ``samples`` elements.
    h : float
        Step. A smaller one meets fewer kinks and rounds more.
    tolerance : float
        Largest relative error that passes.
    samples : int
        Coordinates to check in each array.

    Returns
    -------
    GradientReport
        ``assert gradcheck(...)`` in a test, ``gradcheck(...).raise_if_wrong()`` to hear what is wrong, or print it.

    Raises
    ------
    GradientError
        If a function writes to its argument, or a gradient has the wrong shape or is not finite.
    ValueError
        If forward gives two answers to one question or is not finite, if there are too few or too many gradients, or
        if too many coordinates had to be rejected.
    TypeError
        If something is not float64 that ought to be.

    Examples
    --------
    >>> x, w = rng.standard_normal((2, 3, 5, 5)), rng.standard_normal((4, 3, 3, 3))
    >>> gradcheck(lambda x, w: conv2d(x, w, stride=2), conv2d_backward, x, w)
    array  shape              checked  rejected  relative error
    x      (2, 3, 5, 5)           100         0   3.6e-10  ok
    w      (4, 3, 3, 3)           100         0   9.0e-10  ok
    """
    inputs = [_float64(array, i) for i, array in enumerate(arrays)]
    if not inputs:
        raise ValueError("gradcheck needs at least one array to differentiate with respect to")
    rng = np.random.default_rng(seed)
    names = _argument_names(forward, len(inputs))
    originals = [array.copy() for array in inputs]
    y, cache = _pair(forward(*inputs))
    y = _output(y)
    dy = rng.standard_normal(y.shape) if y.ndim else float(rng.standard_normal())
    upstream = np.array(dy)
    gradients = backward(upstream if y.ndim else dy, cache)
    _check_untouched([*names, "dy"], [*inputs, upstream], [*originals, np.asarray(dy)])
    gradients = _one_for_each(gradients, len(inputs))
    if all(gradient is None for gradient in gradients):
        raise ValueError("backward returned no gradient at all, so there is nothing to check")

    work = [array.copy() for array in originals]  # the differences are taken here; caches may still refer to inputs

    def evaluate() -> Array:
        return _output(_pair(forward(*work))[0])

    probe = _Probe(evaluate, y, np.asarray(dy), h, tolerance)
    checks = zip(names, work, gradients, strict=True)
    return GradientReport(tuple(_compare(probe, *check, samples, rng) for check in checks), tolerance)


def gradcheck_module(
    module: Module,
    *inputs: ArrayLike,
    seed: int = 0,
    h: float = 1e-5,
    tolerance: float = 1e-7,
    samples: int = 10,
    forward: Callable[..., Any] | None = None,
    backward: Callable[[Any, Any], Any] | None = None,
) -> GradientReport:
    """Compare a module's backward pass with central differences: its input gradient and that of every parameter.

    Works on a float64 copy of the module, in the mode it is in (training or evaluation); the module itself stays as it
    is. Dropout draws the same mask every time.

    Parameters
    ----------
    module : Module
        A layer, a block or a whole network.
    *inputs : floating-point arrays
        Arguments of its forward pass.
    seed, h, tolerance, samples
        As in :func:`gradcheck`. The more ReLUs a network has, the smaller the step must be to move none across zero.
    forward : function, optional
        ``forward(module, *inputs) -> y``; by default the output of ``module(*inputs)``, the first field if there are
        several (of a classifier, the logits).
    backward : function, optional
        ``backward(module, dy)`` -> gradient of the input, a tuple for several, None if it is not to be checked; by
        default ``module.backward(dy)``.

    Returns
    -------
    GradientReport
        ``input`` (or ``input 0``, ``input 1``, ...) and every parameter by its name; frozen ones are not checked.

    Raises
    ------
    GradientError, ValueError, TypeError
        As :func:`gradcheck`, and if a parameter that learns received no gradient.
    """
    module = copy.deepcopy(module).astype(np.float64)
    module.drop_caches()
    rng = np.random.default_rng(seed)
    forward, backward = forward or _first_output, backward or _input_gradient
    originals = [_float64(array, i) for i, array in enumerate(inputs)]
    given, work = ([array.copy() for array in originals] for _ in range(2))
    generators = [g for _, m in module.named_modules() for g in vars(m).values() if isinstance(g, np.random.Generator)]
    states = [copy.deepcopy(generator.bit_generator.state) for generator in generators]

    def run(arrays: Sequence[Array]) -> Array:
        for generator, state in zip(generators, states, strict=True):
            generator.bit_generator.state = state
        return _output(forward(module, *arrays))

    with module.enable_grad():
        y = run(given)
        dy = np.asarray(rng.standard_normal(y.shape))
        upstream = dy.copy()
        gradients = backward(module, upstream)
    names = ["input"] if len(given) == 1 else [f"input {i}" for i in range(len(given))]
    _check_untouched([*names, "dy"], [*given, upstream], [*originals, dy])
    module.drop_caches()

    checks: list[tuple[str, Any, Any]] = list(zip(names, work, _one_for_each(gradients, len(work)), strict=True))
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise GradientError(f"backward left no gradient in the parameter {name} {parameter.shape}")
        checks.append((name, parameter.data, parameter.grad))
    probe = _Probe(lambda: run(work), y, dy, h, tolerance)
    return GradientReport(tuple(_compare(probe, *check, samples, rng) for check in checks), tolerance)


def numeric_gradient(f: Callable[[Array], Any], x: ArrayLike, dy: ArrayLike, h: float = 1e-5) -> Array:
    """Return the gradient of ``sum(f(x) * dy)`` by plain central differences, one coordinate after the other.

    Parameters
    ----------
    f : function
        float64 array -> array or number.
    x : array
        Where to differentiate; not written to.
    dy : array of the shape of f(x), or a number
        Upstream gradient. Choose it at random.
    h : float
        Step.

    Returns
    -------
    gradient : float64 array of the shape of x
        Right to about 1e-9, except within h of a kink, where it is something between the two slopes.
    """
    x = np.array(x, np.float64)
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + h
        above = np.array(f(x))
        x[index] = value - h
        below = np.array(f(x))
        x[index] = value
        gradient[index] = np.sum((above - below) * dy) / (2 * h)
    return gradient


# ------------------------------------------------------------------------------------------------ one coordinate


class _Derivative(NamedTuple):
    value: float
    uncertainty: float  # from the rounding of y
    smooth: bool


@dataclass(frozen=True)
class _Probe:
    """Measures ``d sum(y * dy) / d x[index]`` for arrays x that ``evaluate`` reads."""

    evaluate: Callable[[], Array]
    y: Array
    dy: Array
    h: float
    tolerance: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.y).all():
            raise ValueError("the output is not finite: there is nothing to differentiate")
        if not np.array_equal(self.evaluate(), self.y):
            raise ValueError(
                "the same input gave two different outputs: draw random numbers from a generator that is made anew, "
                "with a fixed seed, inside the forward function"
            )

    @functools.cached_property
    def size(self) -> Array:
        """How large the terms of the sum are; a small y may be a difference of numbers of size 1, rounded as those."""
        return np.maximum(np.abs(self.y), 1) * np.abs(self.dy)

    def derivative(self, x: Array, index: tuple[int, ...]) -> _Derivative:
        value, step = x[index], self.h
        changed = np.zeros(self.y.shape, bool)

        def slope(offset: float) -> float:
            x[index] = value + offset
            change = self.evaluate() - self.y
            changed[...] |= change != 0
            return float((change * self.dy).sum() / (x[index] - value))

        try:
            right, left, near_right, near_left = (slope(s) for s in (step, -step, step / 2, -step / 2))
        finally:
            x[index] = value
        wide, narrow = (right + left) / 2, (near_right + near_left) / 2
        derivative = (4 * narrow - wide) / 3
        doubt = max(abs(wide - narrow), abs((right - left) - 2 * (near_right - near_left)))
        uncertainty = ROUNDING * EPS * max(float(np.linalg.norm(self.size[changed])), float(self.size.max())) / step
        return _Derivative(derivative, uncertainty, doubt <= max(self.tolerance * abs(derivative), uncertainty))


def _compare(probe: _Probe, name: str, x: Array, gradient: Any, samples: int, rng: np.random.Generator) -> ArrayReport:
    """Compare the gradient of one array with measured derivatives at random coordinates."""
    if gradient is None:
        return ArrayReport(name, x.shape, 0, 0, 0.0, None)
    gradient = _gradient(gradient, x, name)
    checked, rejected, largest, worst = 0, 0, -1.0, None
    rounding = ROUNDING * EPS * float(np.max(np.abs(gradient)))  # of the written gradient itself
    for flat in rng.permutation(x.size):
        index = tuple(int(i) for i in np.unravel_index(flat, x.shape))
        numeric, uncertainty, smooth = probe.derivative(x, index)
        if not smooth:
            rejected += 1
            if rejected > checked + PATIENCE:
                break
            continue
        checked += 1
        analytic = float(gradient[index])
        floor = max(SMALLEST, (uncertainty + rounding) / probe.tolerance)
        error = float(abs(analytic - numeric) / max(abs(analytic) + abs(numeric), floor))
        if error > largest:
            largest, worst = error, Position(index, numeric, analytic)
        if checked == samples:
            break
    if worst is None or rejected > checked + PATIENCE:
        raise ValueError(
            f"{name}: {rejected} of {rejected + checked} coordinates were rejected, because the function has a kink or "
            f"a jump within h={probe.h:g} of them; choose inputs away from kinks and ties, or a smaller h"
        )
    return ArrayReport(name, x.shape, checked, rejected, largest, worst)


# ------------------------------------------------------------------------------- checks of what the functions return


def _float64(array: ArrayLike, number: int) -> Array:
    array = np.asarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"array {number} is {array.dtype}, and only floating-point arrays can be differentiated; put it inside the "
            "forward function, as in lambda x: cross_entropy(x, labels)"
        )
    return np.array(array, np.float64, order="C")


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"forward must return (y, cache), found {type(result).__name__}")
    return result


def _output(y: Any) -> Array:
    """A copy of y: the function may return (a view of) its input, which is about to change."""
    if isinstance(y, (list, tuple)):
        raise TypeError("forward returned several outputs; choose one with a lambda")
    if np.asarray(y).dtype != np.float64:
        raise TypeError(
            f"forward returned {np.asarray(y).dtype} for float64 input: differences need its full precision"
        )
    return np.array(y)


def _gradient(gradient: Any, x: Array, name: str) -> Array:
    gradient = np.asarray(gradient)
    if gradient.shape != x.shape:
        raise GradientError(f"the gradient of {name} must have its shape {x.shape}, found {gradient.shape}")
    if gradient.dtype != np.float64:
        raise TypeError(f"the gradient of {name} is {gradient.dtype}; for float64 input it must be float64")
    if not np.isfinite(gradient).all():
        raise GradientError(f"the gradient of {name} is not finite everywhere: it holds NaN or infinity")
    return gradient


def _one_for_each(gradients: Any, count: int) -> list[Any]:
    """One gradient for each array; further ones (of a bias that was not given) may only be None."""
    found = list(gradients) if isinstance(gradients, (tuple, list)) else [gradients]
    if len(found) < count or any(g is not None for g in found[count:]):
        raise ValueError(f"backward returned {len(found)} gradient(s) for {count} array(s)")
    return found[:count]


def _check_untouched(names: Sequence[str], arrays: Sequence[Array], originals: Sequence[Array]) -> None:
    for name, array, original in zip(names, arrays, originals, strict=True):
        if not np.array_equal(array, original, equal_nan=True):
            raise GradientError(
                f"the functions wrote to their argument {name}: others may need it, as a skip connection needs dy; "
                "work on a copy"
            )


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named[:count] if len(named) >= count else [f"array {i}" for i in range(count)]


def _first_output(module: Module, *inputs: Array) -> Any:
    y = module(*inputs)
    return y.to_tuple()[0] if hasattr(y, "to_tuple") else y


def _input_gradient(module: Module, dy: Array) -> Any:
    if "input_gradient" in inspect.signature(module.backward).parameters:
        return module.backward(dy, input_gradient=True)  # type: ignore[call-arg]
    return module.backward(dy)


class _CallableModule(ModuleType):
    """``from npresnet.gradcheck import GradientError`` puts this module under the name ``npresnet.gradcheck``, which
    promises a function: so that it stays one, the module can be called.
    """

    __call__ = staticmethod(gradcheck)


sys.modules[__name__].__class__ = _CallableModule
