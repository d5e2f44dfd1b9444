"""Mistakes in batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import solution
from ..part import Array
from .mistake import Functions, Wrong, mistakes_in

PIXELS = (0, 2, 3)  # the axes over which a channel is summed


# ----------------------------------------------------------------------------------------------- batchnorm2d_forward
@dataclass
class _Call:
    """A normalisation that was asked for, and what is right."""

    x: Array
    weight: Array
    bias: Array
    old_mean: Array
    old_var: Array
    training: bool
    momentum: float
    eps: float

    @property
    def mean(self) -> Array:
        """Of the batch, (C,)."""
        return self.x.mean(axis=PIXELS)

    @property
    def var(self) -> Array:
        """Of the batch, biased, (C,)."""
        return self.x.var(axis=PIXELS)

    @property
    def m(self) -> int:
        """Pixels of a channel."""
        return self.x.size // self.x.shape[1]

    @property
    def used(self) -> tuple[Array, Array]:
        """The mean and the variance that normalise."""
        return (self.mean, self.var) if self.training else (self.old_mean, self.old_var)

    def y(self, mean: Array, var: Array, root: Any = None) -> Array:
        """y with some statistics, (C,) or anything that fits (N, C, H, W)."""
        mean, var = (value[:, None, None] if value.ndim == 1 else value for value in (mean, var))
        return self.scaled((self.x - mean) / (np.sqrt(var + self.eps) if root is None else root(var)))

    def scaled(self, x_hat: Array) -> Array:
        """With gamma and beta."""
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]

    def running(self, mean: Array | None = None, var: Array | None = None, momentum: float | None = None) -> Any:
        """The running statistics after some statistics of the batch came in."""
        momentum = self.momentum if momentum is None else momentum
        mean = self.mean if mean is None else mean
        var = self.var * self.m / (self.m - 1) if var is None else var
        return {
            "running_mean": (1 - momentum) * self.old_mean + momentum * mean,
            "running_var": (1 - momentum) * self.old_var + momentum * var,
        }


def _batchnorm2d_forward(wrong: Wrong) -> Functions:
    """``wrong(call)`` returns a dict of what is wrong: y, running_mean, running_var; the cache is the right one."""

    def batchnorm2d_forward(
        x: Array,
        weight: Array,
        bias: Array,
        running_mean: Array,
        running_var: Array,
        training: bool,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Array, Any, Array, Array]:
        call = _Call(x, weight, bias, running_mean, running_var, training, momentum, eps)
        y, cache, mean, var = solution.batchnorm2d_forward(
            x, weight, bias, running_mean, running_var, training, momentum, eps
        )
        values: dict[str, Any] = {"y": y, "running_mean": mean, "running_var": var} | wrong(call)
        return values["y"], cache, values["running_mean"], values["running_var"]

    return {"batchnorm2d_forward": batchnorm2d_forward}


def _in_training(wrong: Wrong) -> Functions:
    """As above, for what is wrong in training only."""
    return _batchnorm2d_forward(lambda call: wrong(call) if call.training else {})


def _in_evaluation(wrong: Wrong) -> Functions:
    return _batchnorm2d_forward(lambda call: {} if call.training else wrong(call))


mistake = mistakes_in("batchnorm2d_forward", _in_training)


@mistake(
    "bn-normalised-with-unbiased-variance",
    "y",
    "You normalise with the unbiased variance. That one is for the running statistics; the batch itself is normalised "
    "with the mean of the squared distances.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(call.mean, call.x.var(axis=PIXELS, ddof=1))}


@mistake(
    "bn-running-var-biased",
    "running_var",
    "Your running_var is updated with the biased variance of the batch. The running statistics estimate the variance "
    "of all data, so they take the unbiased one.",
)
def _(call: _Call) -> Any:
    return {"running_var": call.running(var=call.var)["running_var"]}


@mistake(
    "bn-running-var-of-images",
    "running_var",
    "The correction in your running_var counts images. A channel has as many values as there are pixels in all images.",
)
def _(call: _Call) -> Any:
    N = len(call.x)
    return {"running_var": call.running(var=call.var * N / np.float64(N - 1))["running_var"]}


@mistake(
    "bn-running-std",
    "running_var",
    "Your running_var is updated with a standard deviation. It keeps the variance, without a root.",
)
def _(call: _Call) -> Any:
    return {"running_var": call.running(var=call.x.std(axis=PIXELS, ddof=1))["running_var"]}


@mistake(
    "bn-momentum-reversed",
    "running_mean running_var",
    "Momentum is applied the wrong way round: here it is the weight of the new value, not of the old one.",
)
def _(call: _Call) -> Any:
    return call.running(momentum=1 - call.momentum)


@mistake(
    "bn-momentum-fixed",
    "running_mean running_var",
    "Your running statistics do not depend on the argument momentum.",
)
def _(call: _Call) -> Any:
    return call.running(momentum=0.1)


@mistake(
    "bn-running-replaced",
    "running_mean running_var",
    "Your running statistics are those of this batch alone: what was known from earlier batches is lost.",
)
def _(call: _Call) -> Any:
    return call.running(momentum=1)


@mistake(
    "bn-running-summed",
    "running_mean running_var",
    "Your running statistics grow: the old value has to shrink when the new one is added.",
)
def _(call: _Call) -> Any:
    new = call.running(momentum=1)
    return {
        "running_mean": call.old_mean + call.momentum * new["running_mean"],
        "running_var": call.old_var + call.momentum * new["running_var"],
    }


@mistake(
    "bn-running-not-updated",
    "running_mean running_var",
    "In training, your running statistics stay as they were. Every batch should move them.",
)
def _(call: _Call) -> Any:
    return call.running(momentum=0)


@mistake(
    "bn-statistics-per-pixel",
    "y",
    "Your mean and variance differ from pixel to pixel: they are taken over the batch only. A channel has one mean and "
    "one variance, over all images and all positions.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(call.x.mean(axis=0, keepdims=True), call.x.var(axis=0, keepdims=True))}


@mistake(
    "bn-statistics-per-image",
    "y",
    "Your mean and variance differ from image to image. That is instance normalisation; here all images of the batch "
    "are taken together.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(call.x.mean(axis=(2, 3), keepdims=True), call.x.var(axis=(2, 3), keepdims=True))}


@mistake(
    "bn-statistics-per-example",
    "y",
    "Your mean and variance are those of a whole image with all its channels. That is layer normalisation; here every "
    "channel has its own, over all images.",
)
def _(call: _Call) -> Any:
    axes = (1, 2, 3)
    return {"y": call.y(call.x.mean(axis=axes, keepdims=True), call.x.var(axis=axes, keepdims=True))}


@mistake(
    "bn-statistics-of-everything",
    "y running_mean running_var",
    "All channels share one mean and one variance in your function. Every channel has its own: look at the axes.",
)
def _(call: _Call) -> Any:
    x, ones = call.x, np.ones_like(call.weight)
    running = call.running(x.mean() * ones, x.var(ddof=1) * ones)
    return {"y": call.y(x.mean() * ones, x.var() * ones)} | running


@mistake(
    "bn-running-statistics-in-training",
    "y",
    "In training, you normalise with the running statistics. There, the mean and the variance are those of the batch.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(call.old_mean, call.old_var)}


@mistake(
    "bn-updated-statistics-in-training",
    "y",
    "In training, you update the running statistics first and then normalise with them. There, the mean and the "
    "variance are those of the batch.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(*call.running().values())}


mistake = mistakes_in("batchnorm2d_forward", _in_evaluation)


@mistake(
    "bn-running-updated-in-evaluation",
    "running_mean running_var",
    "Your running statistics change in evaluation. A network that is only used must not learn from what it sees.",
)
def _(call: _Call) -> Any:
    return call.running()


@mistake(
    "bn-batch-statistics-in-evaluation",
    "y",
    "In evaluation, you normalise with the statistics of the batch. There, an image's result must not depend on the "
    "others: the running statistics are used.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(call.mean, call.var)}


mistake = mistakes_in("batchnorm2d_forward", _batchnorm2d_forward)


@mistake(
    "bn-eps-outside-root",
    "y",
    "Your eps is added to the standard deviation. It belongs to the variance, inside the root.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(*call.used, root=lambda var: np.sqrt(var) + call.eps)}


@mistake(
    "bn-eps-forgotten",
    "y",
    "Your eps is missing: a channel of one colour would be divided by zero.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(*call.used, root=np.sqrt)}


@mistake(
    "bn-eps-fixed",
    "y",
    "Your y does not depend on the argument eps.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(*call.used, root=lambda var: np.sqrt(var + 1e-5))}


@mistake(
    "bn-divided-by-variance",
    "y",
    "You divide by the variance. It is the standard deviation that brings a channel to the scale one.",
)
def _(call: _Call) -> Any:
    return {"y": call.y(*call.used, root=lambda var: var + call.eps)}


@mistake(
    "bn-mean-not-subtracted",
    "y",
    "The mean is not subtracted before you divide.",
)
def _(call: _Call) -> Any:
    mean, var = call.used
    return {"y": call.y(0 * mean, var)}


@mistake(
    "bn-gamma-forgotten",
    "y",
    "The normalised values are not scaled: gamma (the argument weight) has no effect.",
)
def _(call: _Call) -> Any:
    return {"y": _with_parameters(call, np.ones_like(call.weight), call.bias)}


@mistake(
    "bn-beta-forgotten",
    "y",
    "The normalised values are not shifted: beta (the argument bias) has no effect.",
)
def _(call: _Call) -> Any:
    return {"y": _with_parameters(call, call.weight, np.zeros_like(call.bias))}


@mistake(
    "bn-gamma-beta-swapped",
    "y",
    "Gamma and beta have changed places: weight scales, bias shifts.",
)
def _(call: _Call) -> Any:
    return {"y": _with_parameters(call, call.bias, call.weight)}


@mistake(
    "bn-scaled-after-shift",
    "y",
    "You shift first and scale then, so that beta is scaled, too. Gamma belongs to the normalised values alone.",
)
def _(call: _Call) -> Any:
    return {"y": _with_parameters(call, call.weight, call.weight * call.bias)}


def _with_parameters(call: _Call, weight: Array, bias: Array) -> Array:
    return _Call(**(vars(call) | {"weight": weight, "bias": bias})).y(*call.used)


# ---------------------------------------------------------------------------------------------- batchnorm2d_backward
@dataclass
class _Gradients:
    """The backward pass, with what is right at hand; sums over pixels are (1, C, 1, 1)."""

    dy: Array
    x: Array
    y: Array
    x_hat: Array
    inv_std: Array  # (1, C, 1, 1)
    gamma: Array  # (1, C, 1, 1)
    training: bool

    @property
    def m(self) -> int:
        """Pixels of a channel."""
        return self.dy.size // self.dy.shape[1]

    @property
    def dbias(self) -> Array:
        return self.dy.sum(axis=PIXELS)

    @property
    def dweight(self) -> Array:
        return (self.dy * self.x_hat).sum(axis=PIXELS)

    def dx(self, mean_share: float | None = None, variance_share: float | None = None, always: bool = False) -> Array:
        """dx, with the shares in which the sums of dy and of dy * x_hat are taken off."""
        mean_share, variance_share = (1 / self.m if share is None else share for share in (mean_share, variance_share))
        terms = mean_share * _wide(self.dbias) + variance_share * self.x_hat * _wide(self.dweight)
        return self.gamma * self.inv_std * (self.dy - (terms if self.training or always else 0))

    def dx_of_means(self, axes: tuple[int, ...]) -> Array:
        """dx with means over other axes."""
        mean, slope = (value.mean(axis=axes, keepdims=True) for value in (self.dy, self.dy * self.x_hat))
        return self.gamma * self.inv_std * (self.dy - mean - self.x_hat * slope)


def _wide(values: Array) -> Array:
    return values[:, None, None]


def _batchnorm2d_backward(wrong: Wrong) -> Functions:
    """``wrong(gradients)`` returns a dict of those that are wrong; the forward pass is right and keeps more."""

    def batchnorm2d_forward(x: Array, weight: Array, *others: Any, **options: Any) -> tuple[Array, Any, Array, Array]:
        y, cache, mean, var = solution.batchnorm2d_forward(x, weight, *others, **options)
        return y, (x, y, *cache), mean, var

    def batchnorm2d_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        x, y, x_hat, inv_std, weight, training = cache
        call = _Gradients(dy, x, y, x_hat, _wide(inv_std), _wide(weight), training)
        values: dict[str, Any] = {"dx": call.dx(), "dweight": call.dweight, "dbias": call.dbias} | wrong(call)
        return values["dx"], values["dweight"], values["dbias"]

    return {"batchnorm2d_forward": batchnorm2d_forward, "batchnorm2d_backward": batchnorm2d_backward}


def _backward_in_training(wrong: Wrong) -> Functions:
    return _batchnorm2d_backward(lambda call: wrong(call) if call.training else {})


mistake = mistakes_in("batchnorm2d_backward", _backward_in_training)


@mistake(
    "bn-backward-mean-term-missing",
    "dx",
    "Your dx misses the term from the batch mean: the mean depends on every x, so dy flows back through it as well.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx(mean_share=0)}


@mistake(
    "bn-backward-variance-term-missing",
    "dx",
    "Your dx misses the term from the batch variance: every x moves the standard deviation that all are divided by.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx(variance_share=0)}


@mistake(
    "bn-backward-constant-statistics",
    "dx",
    "In training, your dx treats the mean and the variance as constants. They are computed from x, so dy flows back "
    "through both of them as well.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx(0, 0)}


@mistake(
    "bn-backward-unbiased-variance",
    "dx",
    "The variance's term in your dx belongs to the unbiased variance. The batch was normalised with the biased one.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx(variance_share=1 / (call.m - 1))}


@mistake(
    "bn-backward-terms-not-averaged",
    "dx",
    "The terms from the mean and the variance are sums in your dx: each pixel has only a small share in the statistics "
    "of its channel.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx(1, 1)}


@mistake(
    "bn-backward-terms-of-images",
    "dx",
    "The terms from the mean and the variance are divided by the number of images in your dx. The statistics are taken "
    "over all pixels of all images.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx(1 / len(call.dy), 1 / len(call.dy))}


@mistake(
    "bn-backward-terms-added",
    "dx",
    "The terms from the mean and the variance have the wrong sign in your dx: a larger mean makes every y smaller.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx(-1 / call.m, -1 / call.m)}


@mistake(
    "bn-backward-per-pixel",
    "dx",
    "In your dx, the terms from the mean and the variance differ from pixel to pixel: they are taken over the batch "
    "only.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx_of_means((0,))}


@mistake(
    "bn-backward-per-image",
    "dx",
    "In your dx, the terms from the mean and the variance differ from image to image: they are taken over the "
    "positions only, not over the batch.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx_of_means((2, 3))}


mistake = mistakes_in("batchnorm2d_backward", _batchnorm2d_backward)


@mistake(
    "bn-backward-training-formula-in-evaluation",
    "dx",
    "In evaluation, your dx has the terms from the mean and the variance. The running statistics do not depend on x.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx(always=True)}


@mistake(
    "bn-backward-gamma-forgotten",
    "dx",
    "Gamma is missing in your dx: it scaled the normalised values on their way forward.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx() / call.gamma}


@mistake(
    "bn-backward-std-forgotten",
    "dx",
    "The standard deviation is missing in your dx: the way forward divided by it, so the way back does, too.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx() / call.inv_std}


@mistake(
    "bn-backward-divided-by-variance",
    "dx",
    "Your dx is divided by the variance where the standard deviation should be: the root is missing.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.dx() * call.inv_std}


@mistake(
    "bn-backward-dweight-with-x",
    "dweight",
    "Your dweight meets dy with the input. Gamma was multiplied with the normalised values.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": (call.dy * call.x).sum(axis=PIXELS)}


@mistake(
    "bn-backward-dweight-with-y",
    "dweight",
    "Your dweight meets dy with the output. Gamma was multiplied with the normalised values, before scale and shift.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": (call.dy * call.y).sum(axis=PIXELS)}


@mistake(
    "bn-backward-dweight-not-scaled",
    "dweight",
    "Your dweight meets dy with the centred input that is not yet divided by the standard deviation.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": call.dweight / call.inv_std.ravel()}


@mistake(
    "bn-backward-parameters-averaged",
    "dweight dbias",
    "Your gradients of gamma and beta are means. Every pixel used them, so what comes back is summed.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": call.dweight / call.m, "dbias": call.dbias / call.m}


@mistake(
    "bn-backward-parameters-divided-by-batch",
    "dweight dbias",
    "Your gradients of gamma and beta are divided by the size of the batch. The loss has already seen to any mean.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": call.dweight / len(call.dy), "dbias": call.dbias / len(call.dy)}


@mistake(
    "bn-backward-parameters-per-pixel",
    "dweight dbias",
    "Your gradients of gamma and beta have a value for every pixel. A channel has one gamma and one beta.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": (call.dy * call.x_hat).sum(axis=0), "dbias": call.dy.sum(axis=0)}


@mistake(
    "bn-backward-parameters-swapped",
    "dweight dbias",
    "The gradients of gamma and beta have changed places: dweight is returned before dbias.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": call.dbias, "dbias": call.dweight}
