"""Parts 3.3 to 3.6: max-pooling and global average pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

import npresnet
from npresnet import ops

from .. import tolerance
from ..part import Criterion, Expected, Inputs, Part, Settings, Step
from .drawing import distinct, in_memory, in_turn, options, values

_SECTION = "npresnet/ops/pooling.py"
_WINDOW = ("kernel_size", "stride", "padding")
_PLAIN: dict[str, Any] = {
    "N": 1, "C": 1, "H": 4, "W": 4, "kernel_size": 2, "stride": 2, "padding": 0, "negative": False, "memory": "rows",
}  # fmt: skip
_SMALLEST = {"N": 1, "C": 1, "H": 1, "W": 1, "kernel_size": 1, "stride": 1, "padding": 0}
_MAX_POOL = (
    Criterion("windows side by side", 0.2, in_turn({}, {"H": 6, "W": (6, 8), "kernel_size": 3, "stride": 3}, **_PLAIN)),
    Criterion("channels and images", 0.2, in_turn({"C": 2}, {"N": 2, "C": 3, "H": 4, "W": (6, 8)}, **_PLAIN)),
    Criterion(
        "overlapping windows",
        0.2,
        in_turn(
            {"H": 3, "W": 4, "stride": 1},
            {"N": 2, "C": (2, 3), "H": 7, "W": 5, "kernel_size": 3},
            **_PLAIN,
        ),
    ),
    Criterion(
        "sizes that do not divide",
        0.1,
        in_turn({"H": 3, "W": 5}, {"N": 2, "C": 2, "H": 6, "W": 8, "kernel_size": 3}, **_PLAIN),
    ),
    Criterion(
        "padding",
        0.2,
        in_turn(
            {"H": 2, "W": 4, "padding": 1, "negative": True},
            {"N": 2, "C": 2, "H": 5, "W": 7, "kernel_size": 3, "padding": 1, "negative": True},
            **_PLAIN,
        ),
    ),
    Criterion(
        "all together, float32",
        0.1,
        in_turn(
            {"H": 4, "W": 5, "kernel_size": 3, "padding": 1},
            {"N": 2, "C": 3, "H": 6, "W": (7, 8), "kernel_size": 3, "padding": 1},
            **{**_PLAIN, "memory": "channels last"},
        ),
        dtype="float32",
    ),
)


def _fits(settings: Settings) -> bool:
    """Windows no larger than the padded image, and none that lies on the padding alone."""
    k, padding = settings["kernel_size"], settings["padding"]
    return 2 * padding <= k and all(k <= settings[size] + 2 * padding for size in "HW")


def _image_shape(settings: Settings) -> tuple[int, ...]:
    return tuple(settings[name] for name in "NCHW")


# ---------------------------------------------------------------------------------------------- max-pooling
def _draw_max(settings: Settings, rng: np.random.Generator) -> Inputs:
    x = distinct(rng, *_image_shape(settings), negative=settings["negative"])
    return {"x": in_memory(x, settings), **{name: settings[name] for name in _WINDOW}}


def _draw_max_backward(settings: Settings, rng: np.random.Generator) -> Inputs:
    inputs = _draw_max(settings, rng)
    k, stride, padding = (settings[name] for name in _WINDOW)
    steps = [(settings[size] + 2 * padding - k) // stride + 1 for size in "HW"]
    dy = values(rng, settings["N"], settings["C"], *steps)
    return {**inputs, "dy": in_memory(dy, settings)}


def _script_max(settings: Settings) -> tuple[Step, ...]:
    return (Step("max_pool2d_forward", ("x", "kernel_size", "stride"), ("y", "cache"), options(("padding",))),)


def _answer_max(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    with npresnet.use_backend("numpy"):
        y, _ = ops.max_pool2d(inputs["x"], *(inputs[name] for name in _WINDOW))
    return {"y": Expected(y, tolerance.once(y))}


def _answer_max_backward(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    dy = inputs["dy"]
    with npresnet.use_backend("numpy"):
        _, cache = ops.max_pool2d(inputs["x"], *(inputs[name] for name in _WINDOW))
        dx = ops.max_pool2d_backward(dy, cache)
        magnitude = ops.max_pool2d_backward(np.abs(dy), cache)
    return {"dx": Expected(dx, tolerance.products(settings["kernel_size"] ** 2, magnitude))}  # windows of a pixel


MAX_POOL2D_FORWARD = Part(
    name="max_pool2d_forward",
    task="3.3",
    functions=("max_pool2d_forward",),
    outputs={"y": 1.0},
    criteria=_MAX_POOL,
    draw=_draw_max,
    script=_script_max,
    answer=_answer_max,
    points=4,
    smallest=_SMALLEST,
    sensible=_fits,
    section=_SECTION,
)

MAX_POOL2D_BACKWARD = Part(
    name="max_pool2d_backward",
    task="3.4",
    functions=("max_pool2d_forward", "max_pool2d_backward"),
    outputs={"dx": 1.0},
    criteria=_MAX_POOL,
    draw=_draw_max_backward,
    script=lambda settings: (*_script_max(settings), Step("max_pool2d_backward", ("dy", "cache"), ("dx",))),
    answer=_answer_max_backward,
    points=5,
    smallest=_SMALLEST,
    sensible=_fits,
    section=_SECTION,
)


# ---------------------------------------------------------------------------------------------- global average
_GLOBAL = (
    Criterion("one channel", 0.3, in_turn({"H": 2, "W": 2}, {"H": (3, 4), "W": (3, 4)}, N=1, C=1)),
    Criterion("channels and images", 0.3, in_turn({"N": 2, "C": 2}, {"N": 2, "C": 3}, H=3, W=3)),
    Criterion("oblong images", 0.3, in_turn({"N": 1, "C": 2, "H": 2}, {"N": 3, "C": 2, "H": 4}, W=(3, 5))),
    Criterion("float32", 0.1, in_turn({"H": 2}, {"H": 5}, N=2, C=3, W=(3, 4)), dtype="float32"),
)


def _draw_global(settings: Settings, rng: np.random.Generator) -> Inputs:
    return {"x": values(rng, *_image_shape(settings))}


def _draw_global_backward(settings: Settings, rng: np.random.Generator) -> Inputs:
    return {**_draw_global(settings, rng), "dy": values(rng, settings["N"], settings["C"])}


def _answer_global(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    x = inputs["x"]
    with npresnet.use_backend("numpy"):
        y, _ = ops.global_pool2d(x)
    magnitude = np.abs(x).mean(axis=(2, 3))
    return {"y": Expected(y[:, :, 0, 0], tolerance.products(x[0, 0].size, magnitude))}


def _answer_global_backward(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    with npresnet.use_backend("numpy"):
        _, cache = ops.global_pool2d(inputs["x"])
        dx = ops.global_pool2d_backward(inputs["dy"][:, :, None, None], cache)
    return {"dx": Expected(dx, tolerance.products(1, np.abs(dx)))}


GLOBAL_AVG_POOL_FORWARD = Part(
    name="global_avg_pool_forward",
    task="3.5",
    functions=("global_avg_pool_forward",),
    outputs={"y": 1.0},
    criteria=_GLOBAL,
    draw=_draw_global,
    script=lambda settings: (Step("global_avg_pool_forward", ("x",), ("y", "cache")),),
    answer=_answer_global,
    points=1,
    smallest={"N": 1, "C": 1, "H": 1, "W": 1},
    section=_SECTION,
)

GLOBAL_AVG_POOL_BACKWARD = Part(
    name="global_avg_pool_backward",
    task="3.6",
    functions=("global_avg_pool_forward", "global_avg_pool_backward"),
    outputs={"dx": 1.0},
    criteria=_GLOBAL,
    draw=_draw_global_backward,
    script=lambda settings: (
        Step("global_avg_pool_forward", ("x",), ("y", "cache")),
        Step("global_avg_pool_backward", ("dy", "cache"), ("dx",)),
    ),
    answer=_answer_global_backward,
    points=2,
    smallest={"N": 1, "C": 1, "H": 1, "W": 1},
    section=_SECTION,
)
