"""Parts 3.1 and 3.2: ReLU."""

from __future__ import annotations

import numpy as np

import npresnet
from npresnet import ops

from .. import tolerance
from ..part import Criterion, Expected, Inputs, Part, Settings, Step
from .drawing import in_turn, values

_SECTION = "npresnet/ops/activation.py"
_SMALLEST = {"N": 1, "C": 1, "H": 1, "W": 1}
_CRITERIA = (
    Criterion("a row of numbers", 0.3, in_turn({"W": 4}, {"W": (6, 9)}, axes=1)),
    Criterion("a table", 0.2, in_turn({"H": 2, "W": 3}, {"H": (3, 5), "W": 4}, axes=2)),
    Criterion("images", 0.4, in_turn({"N": 1, "C": 2, "H": 2, "W": 3}, {"N": 2, "C": 3, "H": (3, 4), "W": 5}, axes=4)),
    Criterion("float32", 0.1, in_turn({"N": 1, "C": 1, "H": 2, "W": 4}, axes=4), dtype="float32"),
)


def _shape(settings: Settings) -> tuple[int, ...]:
    return tuple(settings[name] for name in "NCHW"[-settings["axes"] :])


def _draw(settings: Settings, rng: np.random.Generator) -> Inputs:
    """At least one number of either sign, where there is room for two."""
    x = values(rng, *_shape(settings))
    if x.size > 1:
        flat = x.reshape(-1)
        flat[0], flat[-1] = abs(flat[0]), -abs(flat[-1])
    return {"x": x}


def _draw_backward(settings: Settings, rng: np.random.Generator) -> Inputs:
    return {**_draw(settings, rng), "dy": values(rng, *_shape(settings))}


def _answer(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    with npresnet.use_backend("numpy"):
        y, _ = ops.activation(inputs["x"], "relu")
    return {"y": Expected(y, tolerance.once(y))}


def _answer_backward(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    with npresnet.use_backend("numpy"):
        _, cache = ops.activation(inputs["x"], "relu")
        dx = ops.activation_backward(inputs["dy"], cache)
    return {"dx": Expected(dx, tolerance.products(1, np.abs(dx)))}


RELU_FORWARD = Part(
    name="relu_forward",
    task="3.1",
    functions=("relu_forward",),
    outputs={"y": 1.0},
    criteria=_CRITERIA,
    draw=_draw,
    script=lambda settings: (Step("relu_forward", ("x",), ("y", "cache")),),
    answer=_answer,
    points=1,
    smallest=_SMALLEST,
    section=_SECTION,
)

RELU_BACKWARD = Part(
    name="relu_backward",
    task="3.2",
    functions=("relu_forward", "relu_backward"),
    outputs={"dx": 1.0},
    criteria=_CRITERIA,
    draw=_draw_backward,
    script=lambda settings: (
        Step("relu_forward", ("x",), ("y", "cache")),
        Step("relu_backward", ("dy", "cache"), ("dx",)),
    ),
    answer=_answer_backward,
    points=2,
    smallest=_SMALLEST,
    section=_SECTION,
)
