"""Mistakes in the linear layer and in the loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..part import Array
from .mistake import Functions, Wrong, mistakes_in

# ---------------------------------------------------------------------------------------------------- linear_forward
mistake = mistakes_in(
    "linear_forward", lambda wrong: {"linear_forward": lambda x, weight, bias: (wrong(x, weight, bias), (x, weight))}
)


@mistake("linear-bias-forgotten", "y", "The bias is missing: every class has one number that is added to its score.")
def _(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T


@mistake(
    "linear-bias-per-feature",
    "y",
    "The bias is added too often: once for every feature. It belongs after the sum over the features.",
)
def _(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T + len(x[0]) * bias


@mistake("linear-bias-subtracted", "y", "The bias has the wrong sign: it is added.")
def _(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T - bias


@mistake(
    "linear-weight-not-transposed",
    "y",
    "Your weights are in the wrong order: their rows belong to classes, (K, D). A reshape is no transpose.",
)
def _(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.reshape(weight.shape[::-1]) + bias


@mistake("linear-transposed", "y", "Your y is transposed: its rows should be images, its columns classes.")
def _(x: Array, weight: Array, bias: Array) -> Array:
    return (x @ weight.T + bias).T


@mistake("linear-rectified", "y", "Negative scores are cut off in your y. There is no ReLU in this layer.")
def _(x: Array, weight: Array, bias: Array) -> Array:
    return np.maximum(x @ weight.T + bias, 0)


# --------------------------------------------------------------------------------------------------- linear_backward
def _linear_backward(wrong: Wrong) -> Functions:
    """``wrong(dy, x, weight)`` returns a dict of those gradients that are wrong."""

    def linear_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, Any]:
        return x @ weight.T + bias, (x, weight)

    def linear_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        x, weight = cache
        right = {"dx": dy @ weight, "dweight": dy.T @ x, "dbias": dy.sum(axis=0)}
        values: dict[str, Any] = right | wrong(dy, x, weight)
        return values["dx"], values["dweight"], values["dbias"]

    return {"linear_forward": linear_forward, "linear_backward": linear_backward}


mistake = mistakes_in("linear_backward", _linear_backward)


@mistake(
    "linear-backward-dx-weight-transposed",
    "dx",
    "Your dx meets the weights in the wrong order. Going back, a class's score returns through the weights of its row.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dx": dy @ weight.reshape(weight.shape[::-1]).T}


@mistake(
    "linear-backward-dx-averaged",
    "dx",
    "Your dx is divided by the size of the batch. The loss has already seen to any mean.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dx": dy @ weight / len(dy)}


@mistake(
    "linear-backward-dweight-averaged",
    "dweight",
    "Your dweight is divided by the size of the batch. The loss has already seen to any mean: images are summed.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dweight": dy.T @ x / len(dy)}


@mistake(
    "linear-backward-dweight-transposed",
    "dweight",
    "Your dweight is transposed: a gradient has the shape of what it belongs to.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dweight": x.T @ dy}


@mistake(
    "linear-backward-dweight-reshaped",
    "dweight",
    "Your dweight has the right shape and the wrong order: it was reshaped where it should be transposed.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dweight": (x.T @ dy).reshape(weight.shape)}


@mistake(
    "linear-backward-dweight-last-image",
    "dweight",
    "Only the last image of the batch reaches your dweight: the earlier ones are overwritten.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dweight": dy[-1:].T @ x[-1:]}


@mistake(
    "linear-backward-dbias-mean",
    "dbias",
    "Your dbias is a mean over the batch. The loss has already seen to any mean: images are summed.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dbias": dy.mean(axis=0)}


@mistake(
    "linear-backward-dbias-not-summed",
    "dbias",
    "Your dbias still has a row for every image. All images share the bias.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dbias": dy.copy()}


@mistake(
    "linear-backward-dbias-wrong-axis",
    "dbias",
    "Your dbias is summed over the classes. There is one bias for each class, shared by the images.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dbias": dy.sum(axis=1)}


@mistake(
    "linear-backward-dbias-ones",
    "dbias",
    "Your dbias does not depend on dy. By the chain rule, the slope one is multiplied with what comes from above.",
)
def _(dy: Array, x: Array, weight: Array) -> Any:
    return {"dbias": np.ones_like(dy).sum(axis=0)}


# --------------------------------------------------------------------------------------------- softmax_cross_entropy
def _softmax_cross_entropy(wrong: Wrong) -> Functions:
    """``wrong(logits, onehot)`` returns a dict of what is wrong: loss, dlogits."""

    def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Any, Array]:
        onehot = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
        values: dict[str, Any] = _loss(_log_softmax(logits), onehot) | wrong(logits, onehot)
        return values["loss"], values["dlogits"]

    return {"softmax_cross_entropy": softmax_cross_entropy}


def _log_softmax(logits: Array, axis: int | None = 1) -> Array:
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _loss(log_p: Array, onehot: Array) -> dict[str, Any]:
    """The loss and its gradient, given the logarithms of the probabilities."""
    log_p_label = np.where(onehot > 0, log_p, 0).sum(axis=1)
    return {"loss": -log_p_label.mean(), "dlogits": (np.exp(log_p) - onehot) / len(log_p)}


def _right(logits: Array, onehot: Array) -> tuple[Any, Array]:
    loss, dlogits = _loss(_log_softmax(logits), onehot).values()
    return loss, dlogits


mistake = mistakes_in("softmax_cross_entropy", _softmax_cross_entropy)


@mistake(
    "softmax-over-batch",
    "loss dlogits",
    "Your softmax runs over the batch. For each image, the probabilities of the classes sum to one.",
)
def _(logits: Array, onehot: Array) -> Any:
    return _loss(np.log(np.exp(_log_softmax(logits, axis=0))), onehot)  # by way of probabilities, which may vanish


@mistake(
    "softmax-over-everything",
    "loss dlogits",
    "Your softmax divides by one sum over the whole array. For each image, the probabilities of the classes sum to "
    "one.",
)
def _(logits: Array, onehot: Array) -> Any:
    return _loss(_log_softmax(logits, axis=None), onehot)


@mistake(
    "softmax-overflow",
    "loss dlogits",
    "Large logits overflow in your softmax. It stays the same when all logits of an image are moved by one number: "
    "choose one that keeps the exponentials small.",
)
def _(logits: Array, onehot: Array) -> Any:
    exponentials = np.exp(logits)
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    return {"loss": -np.log((p * onehot).sum(axis=1)).mean(), "dlogits": (p - onehot) / len(p)}


@mistake(
    "softmax-missing",
    "loss dlogits",
    "You take the logits for probabilities. Softmax comes first, then the logarithm.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"loss": -(logits * onehot).sum() / len(logits), "dlogits": (logits - onehot) / len(logits)}


@mistake(
    "softmax-loss-summed",
    "loss",
    "Your loss is the sum over the batch. What is asked for is the mean.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"loss": _right(logits, onehot)[0] * len(logits)}


@mistake(
    "softmax-loss-negated",
    "loss",
    "Your loss has the wrong sign. Logarithms of probabilities are negative; the loss is never.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"loss": -_right(logits, onehot)[0]}


@mistake(
    "softmax-loss-averaged-over-classes",
    "loss",
    "Your loss is also divided by the number of classes. An image adds one term, that of its label.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"loss": _right(logits, onehot)[0] / logits.shape[1]}


@mistake("softmax-loss-log2", "loss", "Your logarithm has the base two. The natural one is asked for.")
def _(logits: Array, onehot: Array) -> Any:
    return {"loss": _right(logits, onehot)[0] / np.log(2)}


@mistake("softmax-loss-log10", "loss", "Your logarithm has the base ten. The natural one is asked for.")
def _(logits: Array, onehot: Array) -> Any:
    return {"loss": _right(logits, onehot)[0] / np.log(10)}


@mistake(
    "softmax-loss-entropy",
    "loss",
    "Your loss does not depend on the labels: it is the entropy of the prediction. The truth has probability one at "
    "the label.",
)
def _(logits: Array, onehot: Array) -> Any:
    log_p = _log_softmax(logits)
    return {"loss": -(np.exp(log_p) * log_p).sum() / len(logits)}


@mistake(
    "softmax-loss-clipped",
    "loss",
    "Something small is added before your logarithm, so a confident wrong answer costs too little. The logarithm of a "
    "softmax can be computed without ever taking the logarithm of a tiny probability.",
)
def _(logits: Array, onehot: Array) -> Any:
    p = np.exp(_log_softmax(logits))
    return {"loss": -np.log((p * onehot).sum(axis=1) + 1e-12).mean()}


@mistake("softmax-loss-without-log", "loss", "The logarithm is missing: your loss is made of probabilities.")
def _(logits: Array, onehot: Array) -> Any:
    return {"loss": -(np.exp(_log_softmax(logits)) * onehot).sum() / len(logits)}


@mistake(
    "softmax-gradient-not-averaged",
    "dlogits",
    "Your loss is a mean over the batch, but your gradient is that of the sum.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"dlogits": _right(logits, onehot)[1] * len(logits)}


@mistake(
    "softmax-gradient-averaged-over-classes",
    "dlogits",
    "Your gradient is also divided by the number of classes. The loss is a mean over images.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"dlogits": _right(logits, onehot)[1] / logits.shape[1]}


@mistake(
    "softmax-gradient-without-labels",
    "dlogits",
    "Your gradient is made of the probabilities alone: it does not depend on the labels.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"dlogits": np.exp(_log_softmax(logits)) / len(logits)}


@mistake(
    "softmax-gradient-added-one",
    "dlogits",
    "At the label, your gradient has the wrong sign: raising the right class's logit makes the loss smaller.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"dlogits": (np.exp(_log_softmax(logits)) + onehot) / len(logits)}


@mistake(
    "softmax-gradient-negated",
    "dlogits",
    "Your gradient has the wrong sign: raising a wrong class's logit makes the loss larger.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"dlogits": -_right(logits, onehot)[1]}


@mistake(
    "softmax-gradient-label-only",
    "dlogits",
    "Your gradient is zero but at the label. The other logits are in the softmax's sum: they have a gradient, too.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"dlogits": _right(logits, onehot)[1] * onehot}


@mistake(
    "softmax-gradient-of-probabilities",
    "dlogits",
    "Your gradient is the one of the probabilities. It has to go back through the softmax, to the logits.",
)
def _(logits: Array, onehot: Array) -> Any:
    return {"dlogits": -onehot / np.exp(_log_softmax(logits)) / len(logits)}
