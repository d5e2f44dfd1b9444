"""Parts 4.1 to 4.3: the fully connected layer, and softmax with cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

import npresnet
from npresnet import ops

from .. import tolerance
from ..part import Array, Criterion, Expected, Inputs, Part, Settings, Step
from .drawing import in_turn, values

_LINEAR = (
    Criterion("one image", 0.2, in_turn({"D": 2, "K": 2}, {"D": (3, 5), "K": (2, 4)}, N=1)),
    Criterion("a batch", 0.4, in_turn({"N": 2, "D": 3, "K": 2}, {"N": 4, "D": 5, "K": 3})),
    Criterion("as many features as classes", 0.2, in_turn({"N": 2, "D": 2, "K": 2}, {"N": 3, "D": 4, "K": 4})),
    Criterion("one feature, one class", 0.1, in_turn({"D": 1, "K": 3}, {"D": 4, "K": 1}, N=3)),
    Criterion("float32", 0.1, in_turn({"N": 2, "D": 2, "K": 3}, {"N": 3, "D": (5, 8), "K": 4}), dtype="float32"),
)
_LINEAR_SMALLEST = {"N": 1, "D": 1, "K": 1}


def _draw_linear(settings: Settings, rng: np.random.Generator) -> Inputs:
    N, D, K = (settings[name] for name in "NDK")
    return {"x": values(rng, N, D), "weight": values(rng, K, D), "bias": values(rng, K)}


def _draw_linear_backward(settings: Settings, rng: np.random.Generator) -> Inputs:
    return {**_draw_linear(settings, rng), "dy": values(rng, settings["N"], settings["K"])}


def _answer_linear(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    x, weight, bias = inputs["x"], inputs["weight"], inputs["bias"]
    with npresnet.use_backend("numpy"):
        y, _ = ops.linear(x, weight, bias)
    return {"y": Expected(y, tolerance.products(settings["D"] + 1, np.abs(x) @ np.abs(weight).T + np.abs(bias)))}


def _answer_linear_backward(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    x, weight, dy = inputs["x"], inputs["weight"], inputs["dy"]
    with npresnet.use_backend("numpy"):
        _, cache = ops.linear(x, weight, inputs["bias"])
        gradients = map(np.asarray, ops.linear_backward(dy, cache))
    bounds = (
        tolerance.products(settings["K"], np.abs(dy) @ np.abs(weight)),
        tolerance.products(settings["N"], np.abs(dy).T @ np.abs(x)),
        tolerance.products(settings["N"], np.abs(dy).sum(axis=0)),
    )
    names = ("dx", "dweight", "dbias")
    return {name: Expected(*pair) for name, *pair in zip(names, gradients, bounds, strict=True)}


LINEAR_FORWARD = Part(
    name="linear_forward",
    task="4.1",
    functions=("linear_forward",),
    outputs={"y": 1.0},
    criteria=_LINEAR,
    draw=_draw_linear,
    script=lambda settings: (Step("linear_forward", ("x", "weight", "bias"), ("y", "cache")),),
    answer=_answer_linear,
    points=1,
    smallest=_LINEAR_SMALLEST,
    section="npresnet/ops/linear.py",
)

LINEAR_BACKWARD = Part(
    name="linear_backward",
    task="4.2",
    functions=("linear_forward", "linear_backward"),
    outputs={"dx": 0.4, "dweight": 0.4, "dbias": 0.2},
    criteria=_LINEAR,
    draw=_draw_linear_backward,
    script=lambda settings: (
        Step("linear_forward", ("x", "weight", "bias"), ("y", "cache")),
        Step("linear_backward", ("dy", "cache"), ("dx", "dweight", "dbias")),
    ),
    answer=_answer_linear_backward,
    points=3,
    smallest=_LINEAR_SMALLEST,
    section="npresnet/ops/linear.py",
)


# ---------------------------------------------------------------------------------------------- softmax
_ORDINARY: dict[str, Any] = {"logits": "ordinary"}


def _draw_logits(settings: Settings, rng: np.random.Generator) -> Inputs:
    """Logits of a kind, and labels that are not all the same.

    ``ordinary`` ones lie within a few units; so do ``about 1000`` and ``about -1000``, each row around that number;
    of ``far apart`` ones the label's lies 1000 below the largest.
    """
    N, K = settings["N"], settings["K"]
    logits = values(rng, N, K)
    labels = rng.permutation(np.arange(N) + rng.integers(K)) % K
    if settings["logits"] in ("about 1000", "about -1000"):
        logits = logits + float(settings["logits"].removeprefix("about ")) + np.arange(N)[:, None]
    elif settings["logits"] == "far apart":
        logits[np.arange(N), (labels + 1) % K] += 1000
    return {"logits": logits, "labels": labels.astype(np.int64)}


def _answer_softmax(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    logits: Array = inputs["logits"]
    with npresnet.use_backend("numpy"):
        loss, cache = ops.cross_entropy(logits, inputs["labels"])
        dlogits = ops.cross_entropy_backward(cache)
    loss_bound, dlogits_bound = tolerance.cross_entropy(logits, inputs["labels"])
    return {"loss": Expected(np.asarray(loss), loss_bound), "dlogits": Expected(dlogits, dlogits_bound)}


SOFTMAX_CROSS_ENTROPY = Part(
    name="softmax_cross_entropy",
    task="4.3",
    functions=("softmax_cross_entropy",),
    outputs={"loss": 0.4, "dlogits": 0.6},
    criteria=(
        Criterion("one image", 0.2, in_turn({"K": 2}, {"K": (3, 5)}, N=1, **_ORDINARY)),
        Criterion("a batch", 0.4, in_turn({"N": 2, "K": 3}, {"N": 4, "K": (5, 7)}, **_ORDINARY)),
        Criterion(
            "large logits",
            0.2,
            in_turn({"N": 1, "K": 2, "logits": "about 1000"}, {"N": 3, "K": 4, "logits": "about -1000"}),
        ),
        Criterion("logits far apart", 0.1, in_turn({"N": 1, "K": 2}, {"N": 3, "K": 4}, logits="far apart")),
        Criterion("float32", 0.1, in_turn({"N": 2, "K": 2}, {"N": 3, "K": 10}, **_ORDINARY), dtype="float32"),
    ),
    draw=_draw_logits,
    script=lambda settings: (Step("softmax_cross_entropy", ("logits", "labels"), ("loss", "dlogits")),),
    answer=_answer_softmax,
    points=5,
    smallest={"N": 1, "K": 2},
    section="npresnet/ops/loss.py",
)
