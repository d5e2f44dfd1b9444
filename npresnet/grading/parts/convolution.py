"""Parts 1.1 to 1.4: im2col, col2im, and the convolution.

Both rearrangements are answered by another route than the solution's loop over kernel offsets: im2col by a view of all
windows at once, col2im by numbering the pixels and summing what carries the same number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import npresnet
from npresnet import ops

from .. import tolerance
from ..part import Array, Criterion, Expected, Inputs, Part, Settings, Step
from .drawing import in_memory, in_turn, options, values

GEOMETRY = ("stride", "padding", "dilation")
PLAIN: dict[str, Any] = {"N": 1, "C": 1, "H": 3, "W": 3, "kh": 2, "kw": 2, "stride": 1, "padding": 0, "dilation": 1}
SMALLEST = {"N": 1, "C": 1, "H": 1, "W": 1, "kh": 1, "kw": 1, "stride": 1, "padding": 0, "dilation": 1}


def output_size(settings: Settings) -> tuple[int, int]:
    """Rows and columns of the result."""
    padding, dilation, stride = settings["padding"], settings["dilation"], settings["stride"]
    oh, ow = (
        (settings[size] + 2 * padding - dilation * (settings[kernel] - 1) - 1) // stride + 1
        for size, kernel in (("H", "kh"), ("W", "kw"))
    )
    return oh, ow


def fits(settings: Settings) -> bool:
    """Whether the kernel is no larger than the padded image."""
    return all(
        settings["dilation"] * (settings[kernel] - 1) + 1 <= settings[size] + 2 * settings["padding"]
        for size, kernel in (("H", "kh"), ("W", "kw"))
    )


def _image_shape(settings: Settings) -> tuple[int, ...]:
    return tuple(settings[name] for name in "NCHW")


# ---------------------------------------------------------------------------------------------- im2col, col2im
_PATCHES = (
    Criterion("one channel", 0.2, in_turn({}, {"H": (4, 5), "W": 6, "kh": 3, "kw": 3}, **PLAIN)),
    Criterion(
        "channels and images", 0.2, in_turn({"C": 2}, {"N": 2, "C": 3, "H": (3, 4), "W": 5, "kh": 2, "kw": 2}, **PLAIN)
    ),
    Criterion(
        "oblong kernel",
        0.1,
        in_turn({"kh": 1, "W": 4}, {"N": 2, "C": 2, "H": 6, "W": (4, 5), "kh": 3, "kw": 2}, **PLAIN),
    ),
    Criterion(
        "stride",
        0.15,
        in_turn(
            {"H": 4, "W": 5, "stride": 2},
            {"N": 2, "C": 2, "H": 6, "W": 8, "kh": 3, "kw": 3, "stride": 2},
            {"C": 2, "H": (7, 8), "W": 9, "kh": 2, "kw": 2, "stride": 3},
            **PLAIN,
        ),
        count=3,
    ),
    Criterion(
        "padding",
        0.15,
        in_turn(
            {"H": 2, "W": 2, "padding": 1},
            {"N": 2, "C": 2, "H": (3, 5), "W": 4, "kh": 3, "kw": 3, "padding": (1, 2)},
            **PLAIN,
        ),
    ),
    Criterion(
        "dilation",
        0.1,
        in_turn(
            {"H": 3, "W": 4, "dilation": 2},
            {"N": 2, "C": 2, "H": (7, 8), "W": 8, "kh": 3, "kw": 3, "dilation": (2, 3)},
            **PLAIN,
        ),
    ),
    Criterion(
        "all together, float32",
        0.1,
        in_turn(
            {"C": 2, "H": 5, "W": 4, "kh": 2, "kw": 3, "stride": 2, "padding": 1},
            {"N": 2, "C": 3, "H": 8, "W": (6, 7), "kh": 3, "kw": 2, "stride": 2, "padding": 2, "dilation": 2},
            **PLAIN,
        ),
        dtype="float32",
    ),
)


def _windows(x: Array, settings: Inputs | Settings, kernel_size: tuple[int, int]) -> Array:
    """(N, C * kh * kw, oh * ow), by a view of all windows."""
    stride, padding, dilation = (settings[name] for name in GEOMETRY)
    span = tuple(dilation * (k - 1) + 1 for k in kernel_size)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    view = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))  # (N, C, all rows, all columns, *span)
    view = view[:, :, ::stride, ::stride, ::dilation, ::dilation]  # (N, C, oh, ow, kh, kw)
    N, C, oh, ow, kh, kw = view.shape
    return view.transpose(0, 1, 4, 5, 2, 3).reshape(N, C * kh * kw, oh * ow)


def _patch_inputs(settings: Settings) -> Inputs:
    return {"kernel_size": (settings["kh"], settings["kw"]), **{name: settings[name] for name in GEOMETRY}}


def _draw_image(settings: Settings, rng: np.random.Generator) -> Inputs:
    return {"x": values(rng, *_image_shape(settings)), **_patch_inputs(settings)}


def _answer_im2col(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    cols = _windows(inputs["x"], inputs, inputs["kernel_size"])
    return {"cols": Expected(cols, tolerance.once(cols))}


IM2COL = Part(
    name="im2col",
    task="1.1",
    functions=("im2col",),
    outputs={"cols": 1.0},
    criteria=_PATCHES,
    draw=_draw_image,
    script=lambda settings: (Step("im2col", ("x", "kernel_size"), ("cols",), options(GEOMETRY)),),
    answer=_answer_im2col,
    points=4,
    smallest=SMALLEST,
    sensible=fits,
    section="01_convolution.ipynb#4.-im2col:-one-matrix-product",
)


def _draw_columns(settings: Settings, rng: np.random.Generator) -> Inputs:
    oh, ow = output_size(settings)
    cols = values(rng, settings["N"], settings["C"] * settings["kh"] * settings["kw"], oh * ow)
    return {"cols": cols, "image_shape": _image_shape(settings), **_patch_inputs(settings)}


def _answer_col2im(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    N, C, H, W = inputs["image_shape"]
    numbers = np.arange(1, C * H * W + 1, dtype=np.float64).reshape(1, C, H, W)  # of every pixel; 0 on the padding
    home = _windows(numbers, inputs, inputs["kernel_size"]).astype(np.intp).ravel()

    def collect(cols: Array) -> Array:
        sums = [np.bincount(home, weights=image.ravel(), minlength=C * H * W + 1)[1:] for image in cols]
        return np.stack(sums).reshape(N, C, H, W)

    most = settings["kh"] * settings["kw"]  # contributions of a pixel
    return {"x": Expected(collect(inputs["cols"]), tolerance.products(most, collect(np.abs(inputs["cols"]))))}


COL2IM = Part(
    name="col2im",
    task="1.2",
    functions=("col2im",),
    outputs={"x": 1.0},
    criteria=_PATCHES,
    draw=_draw_columns,
    script=lambda settings: (Step("col2im", ("cols", "image_shape", "kernel_size"), ("x",), options(GEOMETRY)),),
    answer=_answer_col2im,
    points=5,
    smallest=SMALLEST,
    sensible=fits,
    section="01_convolution.ipynb#6.-Backwards",
)


# ---------------------------------------------------------------------------------------------- convolution
_OPTIONS = (*GEOMETRY, "groups")
_CONVOLUTION: dict[str, Any] = {**PLAIN, "O": 1, "groups": 1, "bias": True, "memory": "rows"}
_WIDE = {"N": 2, "C": 3, "O": 4, "kh": 3, "kw": 3}


def _criteria(*shares: float) -> tuple[Criterion, ...]:
    return (
        Criterion("one channel", shares[0], in_turn({}, {"H": (4, 5), "W": 5, "kh": 3, "kw": 3}, **_CONVOLUTION)),
        Criterion(
            "channels and images",
            shares[1],
            in_turn({"C": 2, "O": 2}, {**_WIDE, "H": 4, "W": (4, 6)}, {**_WIDE, "H": 4, "W": 5}, **_CONVOLUTION),
        ),
        Criterion(
            "without a bias",
            shares[2],
            in_turn({"bias": False}, {"N": 2, "C": 2, "O": 3, "H": 4, "W": (4, 5), "bias": False}, **_CONVOLUTION),
        ),
        Criterion(
            "oblong image and kernel",
            shares[3],
            in_turn(
                {"H": 3, "W": 4, "kh": 1, "kw": 2},
                {"N": 2, "C": 2, "O": 3, "H": 6, "W": (4, 5), "kh": 3, "kw": 2},
                **_CONVOLUTION,
            ),
        ),
        Criterion(
            "stride",
            shares[4],
            in_turn(
                {"H": 4, "W": 5, "stride": 2},
                {"N": 2, "C": 2, "O": 3, "H": 6, "W": 8, "kh": 3, "kw": 3, "stride": 2},
                {"N": 2, "C": 2, "O": 2, "H": (4, 5), "W": 6, "kh": 1, "kw": 1, "stride": 2},
                **_CONVOLUTION,
            ),
            count=3,
        ),
        Criterion(
            "padding",
            shares[5],
            in_turn({"H": 2, "W": 2, "padding": 1}, {**_WIDE, "H": (3, 5), "W": 4, "padding": (1, 2)}, **_CONVOLUTION),
        ),
        Criterion(
            "dilation",
            shares[6],
            in_turn(
                {"H": 3, "W": 4, "dilation": 2},
                {"N": 2, "C": 2, "O": 2, "H": (7, 8), "W": 7, "kh": 3, "kw": 3, "dilation": (2, 3)},
                **_CONVOLUTION,
            ),
        ),
        Criterion(
            "groups",
            shares[7],
            in_turn(
                {"C": 4, "O": 4, "groups": 2},
                {"N": 2, "C": 4, "O": 6, "H": (4, 5), "W": 4, "kh": 3, "kw": 2, "groups": 2},
                {"N": 2, "C": 3, "O": 3, "H": 4, "W": 5, "kh": 3, "kw": 3, "groups": 3},
                **_CONVOLUTION,
            ),
            count=3,
        ),
        Criterion(
            "all together, float32",
            shares[8],
            in_turn(
                {"C": 2, "O": 2, "H": 4, "W": 5, "kw": 2, "padding": 1},
                {"N": 2, "C": 4, "O": 4, "H": 7, "W": 8, "kw": 2, "padding": 2, "dilation": 2, "groups": 2},
                **{**_CONVOLUTION, "kh": 3, "stride": 2, "memory": "channels last"},
            ),
            dtype="float32",
        ),
    )


def _sensible(settings: Settings) -> bool:
    return fits(settings) and not settings["C"] % settings["groups"] and not settings["O"] % settings["groups"]


def _draw_convolution(settings: Settings, rng: np.random.Generator) -> Inputs:
    weight_shape = (settings["O"], settings["C"] // settings["groups"], settings["kh"], settings["kw"])
    return {
        "x": in_memory(values(rng, *_image_shape(settings)), settings),
        "weight": values(rng, *weight_shape),
        "bias": values(rng, settings["O"]) if settings["bias"] else None,
        **{name: settings[name] for name in _OPTIONS},
    }


def _draw_convolution_backward(settings: Settings, rng: np.random.Generator) -> Inputs:
    inputs = _draw_convolution(settings, rng)
    dy = values(rng, settings["N"], settings["O"], *output_size(settings))
    return {**inputs, "dy": in_memory(dy, settings)}


def _script_convolution(settings: Settings) -> tuple[Step, ...]:
    return (Step("conv2d_forward", ("x", "weight", "bias"), ("y", "cache"), options(_OPTIONS)),)


def _geometry(inputs: Inputs) -> list[int]:
    return [inputs[name] for name in _OPTIONS]


def _answer_convolution(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    x, weight, bias = inputs["x"], inputs["weight"], inputs["bias"]
    with npresnet.use_backend("numpy"):
        y, _ = ops.conv2d(x, weight, bias, *_geometry(inputs))
        return {"y": Expected(y, tolerance.convolution(x, weight, bias, *_geometry(inputs)))}


def _answer_convolution_backward(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    x, weight, dy = inputs["x"], inputs["weight"], inputs["dy"]
    with npresnet.use_backend("numpy"):
        _, cache = ops.conv2d(x, weight, inputs["bias"], *_geometry(inputs))
        gradients = zip(("dx", "dweight", "dbias"), ops.conv2d_backward(dy, cache), strict=True)
        bounds = tolerance.convolution_backward(dy, x, weight, *_geometry(inputs))
    return {
        name: Expected(gradient, getattr(bounds, name)) for name, gradient in gradients if gradient is not None
    }  # without a bias, dbias must be None


CONV2D_FORWARD = Part(
    name="conv2d_forward",
    task="1.3",
    functions=("conv2d_forward",),
    outputs={"y": 1.0},
    criteria=_criteria(0.2, 0.2, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05),
    draw=_draw_convolution,
    script=_script_convolution,
    answer=_answer_convolution,
    points=8,
    smallest={**SMALLEST, "O": 1, "groups": 1},
    sensible=_sensible,
    section="01_convolution.ipynb#3.-Colours,-many-kernels,-many-pictures",
)

CONV2D_BACKWARD = Part(
    name="conv2d_backward",
    task="1.4",
    functions=("conv2d_forward", "conv2d_backward"),
    outputs={"dx": 0.4, "dweight": 0.4, "dbias": 0.2},
    criteria=_criteria(0.2, 0.2, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05),
    draw=_draw_convolution_backward,
    script=lambda settings: (
        *_script_convolution(settings),
        Step("conv2d_backward", ("dy", "cache"), ("dx", "dweight", "dbias")),
    ),
    answer=_answer_convolution_backward,
    points=10,
    smallest={**SMALLEST, "O": 1, "groups": 1},
    sensible=_sensible,
    section="01_convolution.ipynb#6.-Backwards",
)
