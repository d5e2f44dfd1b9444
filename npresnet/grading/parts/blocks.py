"""Parts 5.1 to 5.4: the residual blocks.

Numbers are drawn again until no ReLU of the block is near its kink, where the gradient of a right answer would depend
on a rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import npresnet

from .. import tolerance
from ..part import Array, Criterion, Expected, Inputs, Part, Settings, Step
from ..tolerance import Rounding
from .arithmetic import ATTEMPTS, Arithmetic, Backward, is_clear
from .drawing import in_turn, positive, values

_PLAIN: dict[str, Any] = {
    "N": 1, "C": 2, "H": 3, "W": 3, "O": 2, "stride": 1, "projection": False, "training": True,
}  # fmt: skip
_SMALLEST = {"N": 1, "C": 1, "H": 2, "W": 2, "O": 1, "M": 1, "stride": 1}


def normalization_parameters(rng: np.random.Generator, name: str, channels: int) -> dict[str, Array]:
    """Weight, bias and running statistics of one batch normalisation, none of them as at the start of a training."""
    return {
        f"{name}.weight": positive(rng, channels),
        f"{name}.bias": 0.5 * values(rng, channels),
        f"{name}.running_mean": values(rng, channels),
        f"{name}.running_var": positive(rng, channels, low=1.5, high=4.0),
    }


def block_parameters(
    rng: np.random.Generator, convolutions: dict[str, tuple[int, int, int]], projection: tuple[int, int] | None
) -> dict[str, Array]:
    """Parameters of a block: numbers of convolutions with (outputs, inputs, kernel), and (outputs, inputs)."""
    params: dict[str, Array] = {}
    for number, (outputs, inputs, kernel) in convolutions.items():
        params[f"conv{number}.weight"] = values(rng, outputs, inputs, kernel, kernel)
        params |= normalization_parameters(rng, f"bn{number}", outputs)
    if projection is not None:
        params["shortcut.conv.weight"] = values(rng, *projection, 1, 1)
        params |= normalization_parameters(rng, "shortcut.bn", projection[0])
    return params


def basic_parameters(rng: np.random.Generator, inputs: int, outputs: int, projection: bool) -> dict[str, Array]:
    """Parameters of a basic block."""
    sizes = {"1": (outputs, inputs, 3), "2": (outputs, outputs, 3)}
    return block_parameters(rng, sizes, (outputs, inputs) if projection else None)


def _sensible(settings: Settings) -> bool:
    """An identity keeps the shape; every normalisation sees at least four values of a channel."""
    oh, ow = (-(-settings[size] // settings["stride"]) for size in "HW")
    keeps = settings["C"] == settings["O"] and settings["stride"] == 1
    return (settings["projection"] or keeps) and settings["N"] * oh * ow >= 4


def _run(a: Arithmetic, inputs: Inputs, settings: Settings) -> tuple[Array, Backward]:
    (x,), params = a.inputs(inputs["x"]), a.parameters(inputs["params"])
    block = a.bottleneck_block if "M" in settings else a.basic_block
    return block(x, params, settings["stride"])


def _draw(settings: Settings, rng: np.random.Generator) -> Inputs:
    N, C, H, W = (settings[name] for name in "NCHW")
    O, M, stride = settings["O"], settings.get("M"), settings["stride"]
    for _ in range(ATTEMPTS):
        x = values(rng, N, C, H, W)
        if M is None:
            params = basic_parameters(rng, C, O, settings["projection"])
        else:
            sizes = {"1": (M, C, 1), "2": (M, M, 3), "3": (O, M, 1)}
            params = block_parameters(rng, sizes, (O, C) if settings["projection"] else None)
        inputs = {"x": x, "params": params, "stride": stride, "training": settings["training"]}
        a = Arithmetic(tolerance.exact, settings["training"])
        with npresnet.use_backend("numpy"):
            _run(a, inputs, settings)
        if is_clear(a):
            return inputs
    raise ValueError(f"no suitable numbers for a block in {ATTEMPTS} attempts, with {dict(settings)}")


def _draw_backward(settings: Settings, rng: np.random.Generator) -> Inputs:
    inputs = _draw(settings, rng)
    oh, ow = (-(-settings[size] // settings["stride"]) for size in "HW")
    return {**inputs, "dy": values(rng, settings["N"], settings["O"], oh, ow)}


def _answer(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    def compute(rounding: Rounding) -> dict[str, Array]:
        y, _ = _run(Arithmetic(rounding, settings["training"]), inputs, settings)
        return {"y": y}

    with npresnet.use_backend("numpy"):
        return tolerance.measured(compute)


def _answer_backward(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    def compute(rounding: Rounding) -> dict[str, Array]:
        a = Arithmetic(rounding, settings["training"])
        _, backward = _run(a, inputs, settings)
        (dy,) = a.inputs(inputs["dy"])
        dx, grads = backward(dy)
        return {"dx": dx, **{f"grads/{name}": value for name, value in grads.items()}}

    with npresnet.use_backend("numpy"):
        return tolerance.measured(compute)


def _criteria(**wide: Any) -> tuple[Criterion, ...]:
    """Criteria of a block; ``wide`` are its numbers of channels where there is a projection."""
    plain = {**_PLAIN, **({"M": 2} if "M" in wide else {})}
    larger = {"N": 2, "H": (3, 4), "W": 4}
    evaluation, strided = {"training": False}, {"projection": True, "stride": 2}
    return (
        Criterion("identity, evaluation", 0.2, in_turn(evaluation, {**larger, **evaluation}, **plain)),
        Criterion("identity, training", 0.3, in_turn({}, larger, **plain)),
        Criterion(
            "projection, evaluation",
            0.1,
            in_turn(
                {"projection": True, "O": 3, **evaluation},
                {**strided, **wide, **evaluation, "N": 2, "H": 4, "W": 5},
                **plain,
            ),
        ),
        Criterion(
            "projection, training",
            0.3,
            in_turn(
                {"projection": True, "O": 3},
                {**strided, **wide, "N": 2, "H": 4, "W": (4, 5)},
                {**strided, **wide, "N": 2, "H": 5, "W": 3},
                **plain,
            ),
            count=3,
        ),
        Criterion(
            "float32", 0.1, in_turn({"W": 4}, {**strided, **wide, "N": 2, "H": 3, "W": 4}, **plain), dtype="float32"
        ),
    )


def _script(name: str) -> tuple[Step, ...]:
    chosen = (("stride", "stride"), ("training", "training"))
    return (Step(f"{name}_forward", ("x", "params"), ("y", "cache"), chosen),)


def _forward(name: str, task: str, points: float, criteria: tuple[Criterion, ...]) -> Part:
    return Part(
        name=f"{name}_forward",
        task=task,
        functions=(f"{name}_forward",),
        outputs={"y": 1.0},
        criteria=criteria,
        draw=_draw,
        script=lambda settings: _script(name),
        answer=_answer,
        points=points,
        smallest=_SMALLEST,
        sensible=_sensible,
        section=_SECTION,
    )


def _backward(name: str, task: str, points: float, criteria: tuple[Criterion, ...]) -> Part:
    return Part(
        name=f"{name}_backward",
        task=task,
        functions=(f"{name}_forward", f"{name}_backward"),
        outputs={"dx": 0.5, "grads": 0.5},
        criteria=criteria,
        draw=_draw_backward,
        script=lambda settings: (*_script(name), Step(f"{name}_backward", ("dy", "cache"), ("dx", "grads"))),
        answer=_answer_backward,
        points=points,
        smallest=_SMALLEST,
        sensible=_sensible,
        section=_SECTION,
    )


_SECTION = "00_tour.ipynb#ResNetBasicLayer-and-ResNetBottleNeckLayer:-two-kinds-of-$F(x)$"
_BASIC, _BOTTLENECK = _criteria(C=2, O=3), _criteria(C=3, M=2, O=4)

BASIC_BLOCK_FORWARD = _forward("basic_block", "5.1", 4, _BASIC)
BASIC_BLOCK_BACKWARD = _backward("basic_block", "5.2", 8, _BASIC)
BOTTLENECK_BLOCK_FORWARD = _forward("bottleneck_block", "5.3", 3, _BOTTLENECK)
BOTTLENECK_BLOCK_BACKWARD = _backward("bottleneck_block", "5.4", 6, _BOTTLENECK)
