"""How far rounding may carry a right implementation from the exact answer. Derived, for every element; never guessed.

**The unit.** A float32 operation returns ``(a op b) (1 + d)`` with ``|d| <= u = 2**-24``, the *roundoff*. Every bound
here is a number of such roundoffs, to first order in u: an answer may be off by ``u * bound``. Inputs of a case in
float64 may be rounded to float32 first, which costs one u of each.

**Sums.** A sum of n products, computed in any order, is ``sum a_i b_i (1 + d_i)`` where no ``|d_i|`` exceeds ``n u``
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1: ``gamma_n = n u / (1 - n u)``). So it is
off by no more than ``n u sum |a_i| |b_i|``, and that last sum is the same operation on absolute values: the bound of a
convolution is a convolution of absolute values. Small answers that are differences of large terms get the room they
need, and no more. :func:`products` adds two roundings for factors given in float64 and one for a factor that is
applied afterwards; a bias is one more term.

**Batch normalisation** is a chain: the mean is a sum; the variance is off by what its least favourable formula,
``E[x^2] - mean^2``, loses; the inverse root halves the relative error of the variance; each result is carried along to
the next, with absolute values throughout (a *running error analysis*, Higham section 3.3). Fused forms, such as
``x * scale + shift``, round ``x`` and ``mean`` separately, so both are counted. See :class:`Statistics`.

**Networks.** Through a dozen operations a worst case of worst cases would grow far beyond anything that happens. There
the spread is *measured*, for every case (:func:`measured`): each intermediate result is moved by its own bound, with a
random sign for every element, and the whole computation is repeated in float64. An intermediate's bound is as above, of
that one operation. The largest change that any element of an answer shows in several such runs, times
:data:`SAFETY`, is the bound of that answer. Signs that conspire could do more; but real roundings of a sum of n terms
stay near ``sqrt(n) u``, far below the ``n u`` by which every intermediate was moved: the solution in float32 comes to
about a tenth of these bounds.

A mistake in the mathematics is of the size of the answer, 10**4 to 10**6 times as large as these bounds. The tests
insist on 100 times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from .. import ops
from .part import Array, Expected

ROUNDOFF = 2.0**-24
"""Of float32."""
UNDERFLOW = 2.0**-126 / ROUNDOFF
"""What float32 loses below its smallest normal number, in roundoffs."""
EXTRA = 3
"""Roundings of a sum of products besides its n products and sums: of two factors, and of one applied afterwards."""
DRAWS = 4
"""Runs with random signs from which the bounds of a network are measured."""
SAFETY = 2.0
"""Times the largest change that was seen."""


def once(value: Array) -> Array:
    """A value that is only passed on: rounded when it came in."""
    return np.abs(value)


def products(terms: int, magnitude: Array) -> Array:
    """A sum of so many products; ``magnitude`` is the same sum of absolute values."""
    return (terms + EXTRA) * np.asarray(magnitude)


# ---------------------------------------------------------------------------------------------- convolution
class ConvolutionBounds(NamedTuple):
    """The bounds of a convolution's gradients."""

    dx: Array
    dweight: Array
    dbias: Array


def convolution(x: Array, weight: Array, bias: Array | None, *geometry: int) -> Array:
    """The bound of ``conv2d(x, weight, bias, stride, padding, dilation, groups)``."""
    magnitude, _ = ops.conv2d(np.abs(x), np.abs(weight), None if bias is None else np.abs(bias), *geometry)
    return products(weight[0].size + (bias is not None), magnitude)


def convolution_backward(dy: Array, x: Array, weight: Array, *geometry: int) -> ConvolutionBounds:
    """The bounds of the gradients of ``conv2d(x, weight, bias, stride, padding, dilation, groups)``."""
    dy, groups = np.abs(dy), geometry[3] if len(geometry) > 3 else 1
    _, cache = ops.conv2d(np.abs(x), np.abs(weight), np.zeros(len(weight)), *geometry)
    dx, dweight, dbias = map(np.asarray, ops.conv2d_backward(dy, cache))
    terms = weight[:, 0].size // groups  # output channels of a group, times pixels of the kernel
    pixels = dy.size // dy.shape[1]
    return ConvolutionBounds(products(terms, dx), products(pixels, dweight), products(pixels, dbias))


# ---------------------------------------------------------------------------------------------- batch normalisation
class Statistics(NamedTuple):
    """What a batch is normalised with, and its bounds; all (C,)."""

    mean: Array
    var: Array
    mean_bound: Array
    var_bound: Array
    m: int  # values of a channel

    @classmethod
    def of_batch(cls, x: Array) -> Statistics:
        """Mean and biased variance of every channel, by any formula."""
        m = x.size // x.shape[1]
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        mean_bound = products(m, np.abs(x).mean(axis=(0, 2, 3)))
        squares = (x * x).mean(axis=(0, 2, 3))
        var_bound = products(m, squares) + 2 * np.abs(mean) * mean_bound + mean**2 + var
        return cls(mean, var, mean_bound, var_bound, m)

    @classmethod
    def given(cls, mean: Array, var: Array, m: int) -> Statistics:
        """Running statistics, as they came in."""
        return cls(mean, var, once(mean), once(var), m)

    def root_bound(self, eps: float) -> Array:
        """The *relative* bound of ``1 / sqrt(var + eps)``."""
        total = self.var + eps
        return (self.var_bound + total) / (2 * total) + 2  # root, division

    def normalized(self, x: Array, eps: float) -> tuple[Array, Array]:
        """``(x - mean) / sqrt(var + eps)``, and its bound."""
        inv = _channel(1 / np.sqrt(self.var + eps))
        x_hat = (x - _channel(self.mean)) * inv
        apart = 3 * (np.abs(x) + np.abs(_channel(self.mean)))  # as x * inv - mean * inv, or together
        return x_hat, inv * (_channel(self.mean_bound) + apart) + np.abs(x_hat) * (_channel(self.root_bound(eps)) + 2)

    def running(self, running_mean: Array, running_var: Array, momentum: float) -> tuple[Array, Array]:
        """The bounds of the running statistics after this batch."""
        keep, unbiased = 1 - momentum, self.m / (self.m - 1)
        mean = 4 * (keep * np.abs(running_mean) + momentum * np.abs(self.mean)) + momentum * self.mean_bound
        var = 4 * keep * running_var + momentum * unbiased * (6 * self.var + self.var_bound)
        return mean, var


def normalization(x: Array, weight: Array, bias: Array, statistics: Statistics, eps: float) -> Array:
    """The bound of ``weight * normalized(x) + bias``."""
    x_hat, bound = statistics.normalized(x, eps)
    scaled = np.abs(_channel(weight))
    return scaled * (bound + 3 * np.abs(x_hat)) + 3 * np.abs(_channel(bias))


def normalization_backward(
    dy: Array, x: Array, weight: Array, statistics: Statistics, eps: float, training: bool
) -> tuple[Array, Array, Array]:
    """The bounds of dx, dweight and dbias, by the closed formula or step by step."""
    axes, m = (0, 2, 3), statistics.m
    dy = np.abs(dy)
    x_hat, bound = statistics.normalized(x, eps)
    dbias = dy.sum(axis=axes)
    dweight = (dy * np.abs(x_hat)).sum(axis=axes)
    dbias_bound = products(m, dbias)
    dweight_bound = products(m, dweight) + (dy * bound).sum(axis=axes)
    size, error = dy, 2 * dy
    if training:
        size = dy + _channel(dbias) / m + np.abs(x_hat) * _channel(dweight) / m
        error = error + (_channel(dbias_bound + 4 * dbias)) / m
        error = error + (np.abs(x_hat) * _channel(dweight_bound + 4 * dweight) + bound * _channel(dweight)) / m
        # step by step there is also dvar * mean(x - mean), which is zero but for rounding
        error = error + _channel(dweight * statistics.mean_bound / np.sqrt(statistics.var + eps)) / m
    scale = _channel(np.abs(weight) / np.sqrt(statistics.var + eps))
    dx_bound = scale * (error + size * (_channel(statistics.root_bound(eps)) + 4))
    return dx_bound, dweight_bound, dbias_bound


def _channel(values: Array) -> Array:
    return values[:, None, None]


# ---------------------------------------------------------------------------------------------- classifier
def cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """The bounds of the loss and of its gradient.

    ``exp`` turns an absolute error of its argument into a relative one of its result. The argument is off by a rounding
    of the logit, of the largest logit and of their difference: 1000 u, where logits are 1000.
    """
    N, K = logits.shape
    largest = logits.max(axis=1, keepdims=True)
    shifted = logits - largest
    argument = np.abs(logits) + np.abs(largest) + np.abs(shifted)  # (N, K)
    exps = np.exp(shifted)
    p = exps / exps.sum(axis=1, keepdims=True)
    total = (p * (argument + 2)).sum(axis=1, keepdims=True) + K  # (N, 1), relative, of the sum
    log_total = np.log(exps.sum(axis=1, keepdims=True))
    log_p = argument + total + 3 * np.abs(log_total) + 2 * np.abs(shifted - log_total) + 2
    rows = np.arange(N)
    terms = np.abs(shifted - log_total)[rows, labels]
    loss = (log_p[rows, labels] + (N + 2) * terms).sum() / N
    target = np.zeros_like(p)
    target[rows, labels] = 1
    dlogits = (p * (argument + total + 8) + 3 * target) / N + UNDERFLOW
    return float(loss), dlogits


# ---------------------------------------------------------------------------------------------- networks
class Rounding(Protocol):
    """Called with every intermediate result and its bound (computed when asked for); returns the result, rounded."""

    def __call__(self, value: Array, bound: Callable[[], Array]) -> Array:
        """The value that the computation goes on with."""


def exact(value: Array, bound: Callable[[], Array]) -> Array:
    """No rounding at all."""
    return value


def measured(compute: Callable[[Rounding], dict[str, Array]]) -> dict[str, Expected]:
    """The answers of a computation, with bounds from the spread that rounding of its intermediates causes.

    Parameters
    ----------
    compute : callable
        ``compute(rounding)`` returns the answers by name; it passes all inputs and intermediates through ``rounding``,
        in the same order every time.

    Returns
    -------
    dict of Expected
        One bound for all elements of an answer.
    """
    bounds: list[Array] = []

    def record(value: Array, bound: Callable[[], Array]) -> Array:
        bounds.append(np.asarray(bound()))
        return value

    answers = compute(record)
    largest = dict.fromkeys(answers, 0.0)
    for draw in range(DRAWS):
        signs = np.random.default_rng(draw)
        of = iter(bounds)

        def move(value: Array, bound: Callable[[], Array], signs=signs, of=of) -> Array:  # type: ignore[no-untyped-def]
            return value + ROUNDOFF * next(of) * signs.choice([-1.0, 1.0], np.shape(value))

        for name, moved in compute(move).items():
            largest[name] = max(largest[name], float(np.abs(moved - answers[name]).max()) / ROUNDOFF)
    return {name: Expected(value, SAFETY * largest[name]) for name, value in answers.items()}
