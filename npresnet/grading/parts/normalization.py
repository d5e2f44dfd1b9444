"""Parts 2.1 and 2.2: batch normalisation.

Values are spread like the pixels of a picture, over some tens: there eps makes no difference, so that whoever puts it
in the wrong place loses the criterion about eps and no other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import npresnet
from npresnet import ops

from .. import tolerance
from ..part import Array, Criterion, Expected, Inputs, Part, Settings, Step
from .drawing import given, in_turn, options, positive, values

_NUMBERS = ("momentum", "eps")
_PLAIN: dict[str, Any] = {
    "N": 2, "C": 1, "H": 2, "W": 2, "training": True, "spread": "20", "momentum": "default", "eps": "default",
}  # fmt: skip
_SMALLEST = {"N": 1, "C": 1, "H": 1, "W": 1}


def _sensible(settings: Settings) -> bool:
    """Four values a channel: of two, whatever they are, normalisation makes -1 and 1."""
    return settings["N"] * settings["H"] * settings["W"] >= 4


def _criteria(momentum: bool, *shares: float) -> tuple[Criterion, ...]:
    """The criteria of both parts; the momentum matters to the forward pass alone."""
    evaluation = {"training": False}
    criteria = [
        Criterion("training, one channel", shares[0], in_turn({}, {"N": 3, "H": (2, 3), "W": (3, 4)}, **_PLAIN)),
        Criterion(
            "training, several channels",
            shares[1],
            in_turn({"C": 2}, {"N": (2, 3), "C": 4, "H": 3, "W": 5}, **_PLAIN),
        ),
        Criterion("training, one image", shares[2], in_turn({"N": 1}, {"N": 1, "C": 3, "H": (3, 4), "W": 5}, **_PLAIN)),
        Criterion(
            "evaluation",
            shares[3],
            in_turn(evaluation, {"N": (2, 3), "C": 3, "H": 2, "W": 4, **evaluation}, **_PLAIN),
        ),
        Criterion(
            "eps",
            shares[4],
            in_turn(
                {"spread": "0.003"},
                {"C": 2, "spread": "0.3", "eps": "0.1", **evaluation},
                {"C": 2, "H": 3, "W": (2, 4), "spread": "0.3", "eps": "0.1"},
                **_PLAIN,
            ),
            count=3,
        ),
        Criterion("float32", shares[5], in_turn({}, {"N": 2, "C": 3, "H": 4, "W": (3, 5)}, **_PLAIN), dtype="float32"),
    ]
    if momentum:
        criteria.insert(
            5,
            Criterion(
                "another momentum",
                shares[6],
                in_turn({"momentum": "0.3"}, {"C": 3, "H": 3, "W": (2, 4), "momentum": "0.6"}, **_PLAIN),
            ),
        )
    return tuple(criteria)


def _draw(settings: Settings, rng: np.random.Generator) -> Inputs:
    """Every channel has its own mean and spread."""
    N, C, H, W = (settings[name] for name in "NCHW")
    spread = float(settings["spread"])
    center = spread * values(rng, C)
    width = spread * positive(rng, C, low=0.7, high=1.3)
    x = center[:, None, None] + width[:, None, None] * values(rng, N, C, H, W)
    return {
        "x": np.round(x / spread, 2) * spread,
        "weight": values(rng, C),
        "bias": values(rng, C),
        "old_running_mean": spread * values(rng, C),
        "old_running_var": spread**2 * positive(rng, C, low=0.5, high=2.5),
        "training": settings["training"],
        **given(settings, _NUMBERS),
    }


def _draw_backward(settings: Settings, rng: np.random.Generator) -> Inputs:
    inputs = _draw(settings, rng)
    return {**inputs, "dy": values(rng, *inputs["x"].shape)}


def _script(settings: Settings) -> tuple[Step, ...]:
    args = ("x", "weight", "bias", "old_running_mean", "old_running_var", "training")
    returns = ("y", "cache", "running_mean", "running_var")
    return (Step("batchnorm2d_forward", args, returns, options(tuple(given(settings, _NUMBERS)))),)


def _statistics(inputs: Inputs) -> tolerance.Statistics:
    x = inputs["x"]
    if inputs["training"]:
        return tolerance.Statistics.of_batch(x)
    return tolerance.Statistics.given(inputs["old_running_mean"], inputs["old_running_var"], x.size // x.shape[1])


def _forward(inputs: Inputs) -> tuple[Array, ops.BatchNormCache]:
    x, weight, bias = inputs["x"], inputs["weight"], inputs["bias"]
    eps = inputs.get("eps", 1e-5)
    if inputs["training"]:
        return ops.batchnorm2d_train(x, weight, bias, eps)
    return ops.batchnorm2d_eval(x, weight, bias, inputs["old_running_mean"], inputs["old_running_var"], eps)


def _answer(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    running = inputs["old_running_mean"], inputs["old_running_var"]
    statistics, eps, momentum = _statistics(inputs), inputs.get("eps", 1e-5), inputs.get("momentum", 0.1)
    with npresnet.use_backend("numpy"):
        y, cache = _forward(inputs)
    new, bounds = running, (tolerance.once(running[0]), tolerance.once(running[1]))
    if inputs["training"]:
        new = ops.updated_running_statistics(*running, cache, momentum)
        bounds = statistics.running(*running, momentum)
    return {
        "y": Expected(y, tolerance.normalization(inputs["x"], inputs["weight"], inputs["bias"], statistics, eps)),
        "running_mean": Expected(new[0], bounds[0]),
        "running_var": Expected(new[1], bounds[1]),
    }


def _answer_backward(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    eps, training = inputs.get("eps", 1e-5), inputs["training"]
    with npresnet.use_backend("numpy"):
        _, cache = _forward(inputs)
        backward = ops.batchnorm2d_train_backward if training else ops.batchnorm2d_eval_backward
        gradients = backward(inputs["dy"], cache)
    bounds = tolerance.normalization_backward(
        inputs["dy"], inputs["x"], inputs["weight"], _statistics(inputs), eps, training
    )
    names = ("dx", "dweight", "dbias")
    return {name: Expected(*pair) for name, *pair in zip(names, gradients, bounds, strict=True)}


BATCHNORM2D_FORWARD = Part(
    name="batchnorm2d_forward",
    task="2.1",
    functions=("batchnorm2d_forward",),
    outputs={"y": 0.6, "running_mean": 0.15, "running_var": 0.25},
    criteria=_criteria(True, 0.25, 0.2, 0.1, 0.2, 0.1, 0.05, 0.1),
    draw=_draw,
    script=_script,
    answer=_answer,
    points=7,
    smallest=_SMALLEST,
    sensible=_sensible,
    section="npresnet/ops/batchnorm.py",
)

BATCHNORM2D_BACKWARD = Part(
    name="batchnorm2d_backward",
    task="2.2",
    functions=("batchnorm2d_forward", "batchnorm2d_backward"),
    outputs={"dx": 0.5, "dweight": 0.3, "dbias": 0.2},
    criteria=_criteria(False, 0.3, 0.2, 0.1, 0.2, 0.1, 0.1),
    draw=_draw_backward,
    script=lambda settings: (
        *_script(settings),
        Step("batchnorm2d_backward", ("dy", "cache"), ("dx", "dweight", "dbias")),
    ),
    answer=_answer_backward,
    points=9,
    smallest=_SMALLEST,
    sensible=_sensible,
    section="npresnet/ops/batchnorm.py",
)
