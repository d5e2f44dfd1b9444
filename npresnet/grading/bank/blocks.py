"""Mistakes in the residual blocks.

Both blocks are one thing here: convolutions one after the other, each with its normalisation, and a shortcut. A plan
says how they are put together; a wrong block is a wrong plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import solution
from ..part import Array
from .mistake import Functions, Wrong, mistakes_in


@dataclass(frozen=True)
class _Plan:
    """How a block is put together."""

    norms: tuple[str, ...]  # after each convolution; "" for none
    strided: int  # the convolution with the stride; -1 for none
    rectified: tuple[bool, ...]  # after each normalisation
    rectified_first: bool = False  # the first ReLU comes before its normalisation
    final_relu: bool = True
    shortcut: str = "input"  # input, none, middle
    shortcut_norm: bool = True
    shortcut_strided: bool = True
    shortcut_relu: bool = False
    normalised_after_sum: bool = False  # the last normalisation sees the sum
    training: bool | None = None  # of all normalisations; None for what is asked for
    shortcut_training: bool | None = None


BASIC = _Plan(norms=("bn1", "bn2"), strided=0, rectified=(True, False))
BOTTLENECK = _Plan(norms=("bn1", "bn2", "bn3"), strided=1, rectified=(True, True, False))


@dataclass
class _Tape:
    """What happened on the way forward; None where a layer was left out."""

    convolutions: list[Any]
    norms: list[Any]
    masks: list[Array | None]
    projection: Any = None
    projection_norm: Any = None
    skip_mask: Array | None = None
    final_mask: Array | None = None
    has_skip: bool = True


def _forward(x: Array, params: Any, stride: int, training: bool, plan: _Plan) -> tuple[Array, _Tape]:
    """Go through a block that was put together by a plan."""
    asked, training = training, training if plan.training is None else plan.training
    tape, h, middle = _Tape([], [], []), x, x
    for index, norm in enumerate(plan.norms):
        weight = params[f"conv{index + 1}.weight"]
        own_stride = stride if index == plan.strided else 1
        h, cache = solution.conv2d_forward(h, weight, stride=own_stride, padding=weight.shape[2] // 2)
        tape.convolutions.append(cache)
        before = plan.rectified_first and index == 0
        if before:
            h = np.maximum(h, 0)
        last = index == len(plan.norms) - 1
        h, cache = (h, None) if last and plan.normalised_after_sum else _normalised(h, params, norm, training)
        tape.norms.append(cache)
        mask = h > 0 if plan.rectified[index] and not before else None
        tape.masks.append(mask)
        h = h if mask is None else h * mask
        middle = h if index == 0 else middle
    if plan.shortcut == "none":
        tape.has_skip = False
    elif plan.shortcut == "middle":
        h = h + middle
    else:
        mode = training if plan.shortcut_training is None else plan.shortcut_training and asked
        h = h + _shortcut(x, params, stride, mode, plan, tape)
    if plan.normalised_after_sum:
        h, tape.norms[-1] = _normalised(h, params, plan.norms[-1], training)
    tape.final_mask = h > 0 if plan.final_relu else None
    return (h if tape.final_mask is None else h * tape.final_mask), tape


def _normalised(h: Array, params: Any, name: str, training: bool) -> tuple[Array, Any]:
    if not name:
        return h, None
    values = [params[f"{name}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")]
    weight, bias, mean, var = values
    return solution.batchnorm2d_forward(h, weight, bias, mean, var, training)[:2]


def _shortcut(x: Array, params: Any, stride: int, training: bool, plan: _Plan, tape: _Tape) -> Array:
    skip = x
    if "shortcut.conv.weight" in params:
        own_stride = stride if plan.shortcut_strided else 1
        skip, tape.projection = solution.conv2d_forward(x, params["shortcut.conv.weight"], stride=own_stride)
        name = "shortcut.bn" if plan.shortcut_norm else ""
        skip, tape.projection_norm = _normalised(skip, params, name, training)
    if plan.shortcut_relu:
        tape.skip_mask = skip > 0
        skip = skip * tape.skip_mask
    return skip


@dataclass(frozen=True)
class _Way:
    """How the gradient goes back through a block."""

    mask_on_main: bool = True  # the final ReLU's, on each path
    mask_on_skip: bool = True
    masks: tuple[int, ...] = (0, 1, 2)  # whose mask is used after each normalisation; -1 for none
    skip: str = "added"  # added, lost, projection lost, inside
    main: bool = True
    constant: bool = False  # normalisations as in evaluation
    projection_norm: bool = True


def _backward(dy: Array, tape: _Tape, way: _Way) -> tuple[Array, dict[str, Array]]:
    """Go back through a block."""
    grads: dict[str, Array] = {}
    masked = dy if tape.final_mask is None else dy * tape.final_mask
    dskip = _skip_backward(masked if way.mask_on_skip else dy, tape, way, grads)
    dh = masked if way.mask_on_main else dy
    for index in reversed(range(len(tape.convolutions))):
        if way.skip == "inside" and index == 0 and tape.projection is None:
            dh = dh + masked
        mask = None if way.masks[index] < 0 else tape.masks[way.masks[index]]
        if mask is not None:
            dh = dh * mask
        dh = _norm_backward(dh, tape.norms[index], f"bn{index + 1}", way, grads)
        dh, grads[f"conv{index + 1}.weight"], _ = solution.conv2d_backward(dh, tape.convolutions[index])
    lost = way.skip == "lost" or (way.skip == "projection lost" and tape.projection is not None)
    lost |= way.skip == "inside" and tape.projection is None
    if not way.main:
        return (dskip if tape.has_skip else 0 * dh), grads
    return (dh if lost or not tape.has_skip else dh + dskip), grads


def _skip_backward(dskip: Array, tape: _Tape, way: _Way, grads: dict[str, Array]) -> Array:
    if tape.skip_mask is not None:
        dskip = dskip * tape.skip_mask
    if tape.projection is None:
        return dskip
    dnorm = _norm_backward(dskip, tape.projection_norm, "shortcut.bn", way, grads)
    dx, grads["shortcut.conv.weight"], _ = solution.conv2d_backward(
        dnorm if way.projection_norm else dskip, tape.projection
    )
    return dx


def _norm_backward(dh: Array, cache: Any, name: str, way: _Way, grads: dict[str, Array]) -> Array:
    if cache is None:
        return dh
    dx, grads[f"{name}.weight"], grads[f"{name}.bias"] = solution.batchnorm2d_backward(dh, cache)
    if way.constant:
        x_hat, inv_std, weight, _ = cache
        dx, *_ = solution.batchnorm2d_backward(dh, (x_hat, inv_std, weight, False))
    return dx


def _block(kind: str, plan: _Plan, wrong: Wrong | None, forward: bool) -> Functions:
    """Both functions of a block: wrong forward, by a changed plan, or backward, by what ``wrong(dy, tape)`` returns."""

    def block_forward(x: Array, params: Any, stride: int = 1, training: bool = True) -> tuple[Array, Any]:
        return _forward(x, params, stride, training, wrong(plan) if forward and wrong else plan)

    def block_backward(dy: Array, tape: _Tape) -> tuple[Array, dict[str, Array]]:
        return _backward(dy, tape, _Way()) if forward or not wrong else wrong(dy, tape)

    return {f"{kind}_forward": block_forward, f"{kind}_backward": block_backward}


# ----------------------------------------------------------------------------------------------- basic_block_forward
mistake = mistakes_in("basic_block_forward", lambda wrong: _block("basic_block", BASIC, wrong, forward=True))


@mistake(
    "basic-block-shortcut-forgotten",
    "y",
    "The shortcut is missing: the input, or its projection, has to be added to the result of the last normalisation.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, shortcut="none")


@mistake(
    "basic-block-relu-before-sum",
    "y",
    "Your last ReLU comes before the sum with the shortcut. It belongs after it.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, rectified=(True, True), final_relu=False)


@mistake(
    "basic-block-relu-before-and-after-sum",
    "y",
    "There is a ReLU too many in your block: between the second normalisation and the sum there is none.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, rectified=(True, True))


@mistake(
    "basic-block-final-relu-missing",
    "y",
    "The last ReLU is missing: the sum of both paths is rectified.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, final_relu=False)


@mistake(
    "basic-block-first-relu-missing",
    "y",
    "The ReLU between the two convolutions is missing.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, rectified=(False, False))


@mistake(
    "basic-block-relu-before-normalisation",
    "y",
    "Your first ReLU comes before the normalisation. The order is convolution, normalisation, ReLU.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, rectified_first=True)


@mistake("basic-block-first-normalisation-missing", "y", "The normalisation after the first convolution is missing.")
def _(plan: _Plan) -> _Plan:
    return replace(plan, norms=("", "bn2"))


@mistake("basic-block-second-normalisation-missing", "y", "The normalisation after the second convolution is missing.")
def _(plan: _Plan) -> _Plan:
    return replace(plan, norms=("bn1", ""))


@mistake(
    "basic-block-normalisations-swapped",
    "y",
    "The two normalisations have changed places: each convolution is followed by the one of its own number.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, norms=("bn2", "bn1"))


@mistake(
    "basic-block-first-normalisation-twice",
    "y",
    "Both of your normalisations use the parameters of the first one.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, norms=("bn1", "bn1"))


@mistake(
    "basic-block-stride-on-second-convolution",
    "y",
    "Your second convolution has the stride. In this block it is the first one that makes the image smaller.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, strided=1)


@mistake(
    "basic-block-stride-ignored",
    "y",
    "The stride has no effect in your block: one convolution of the main path and the projection have it.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, strided=-1, shortcut_strided=False)


@mistake(
    "basic-block-projection-without-normalisation",
    "y",
    "The shortcut's normalisation is missing: a projection is a convolution and a normalisation.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, shortcut_norm=False)


@mistake(
    "basic-block-shortcut-rectified",
    "y",
    "There is a ReLU on your shortcut. It is added as it is: only the sum is rectified.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, shortcut_relu=True)


@mistake(
    "basic-block-shortcut-from-middle",
    "y",
    "What you add at the end comes from the middle of the block. The shortcut begins at the block's input.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, shortcut="middle")


@mistake(
    "basic-block-always-training",
    "y",
    "Your normalisations always use the statistics of the batch. Look at what you do with the argument training.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, training=True)


@mistake(
    "basic-block-always-evaluation",
    "y",
    "Your normalisations always use the running statistics. Look at what you do with the argument training.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, training=False)


@mistake(
    "basic-block-shortcut-evaluation",
    "y",
    "The normalisation on your shortcut always uses the running statistics. It has the same mode as the others.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, shortcut_training=False)


# ---------------------------------------------------------------------------------------------- basic_block_backward
mistake = mistakes_in("basic_block_backward", lambda wrong: _block("basic_block", BASIC, wrong, forward=False))

SKIP_LOST = (
    "The skip path's gradient is lost: x reaches the output on two paths, so your dx has to have both of their parts."
)
PROJECTION_LOST = (
    "With a projection, the skip path's gradient is lost: what comes back through its normalisation and convolution "
    "belongs to dx as well."
)
SKIP_BEFORE_RELU = (
    "The skip path gets dy as it came. Both paths end in the sum, before the last ReLU, so both get what is left after "
    "its mask."
)
FINAL_RELU_MISSING = "The last ReLU is missing on your way back: what it cut off has no gradient, on neither path."
MASKS_SWAPPED = (
    "Your ReLU masks have changed places: each ReLU passes back what was positive at its own input in the forward pass."
)
MAIN_LOST = "The main path's gradient is lost: your dx has only what came along the shortcut."
NORMALISATION_CONSTANT = (
    "On your way back, the normalisations treat their statistics as constants. In training they were computed from the "
    "batch."
)
GAMMA_BETA_SWAPPED = (
    "The gradients of your normalisations' weight and bias have changed places. Look at the order in which the "
    "normalisation's backward function returns them."
)
NORMALISATIONS_SWAPPED = "The gradients of the first and the second normalisation are stored under each other's names."
GRADS_MISSING = "The gradients of the projection's parameters are missing in grads."
AVERAGED = "Your gradients are divided by the size of the batch. The loss has already seen to any mean."


@mistake("basic-block-backward-skip-lost", "dx", SKIP_LOST)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(skip="lost"))


@mistake("basic-block-backward-projection-lost", "dx", PROJECTION_LOST)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(skip="projection lost"))


@mistake("basic-block-backward-skip-before-relu", "dx grads", SKIP_BEFORE_RELU)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(mask_on_skip=False))


@mistake("basic-block-backward-final-relu-missing", "dx grads", FINAL_RELU_MISSING)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(mask_on_skip=False, mask_on_main=False))


@mistake(
    "basic-block-backward-first-relu-missing",
    "dx grads",
    "On your way back, the ReLU between the two convolutions is missing.",
)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(masks=(-1, -1)))


@mistake("basic-block-backward-masks-swapped", "dx grads", MASKS_SWAPPED)
def _(dy: Array, tape: _Tape) -> Any:
    swapped = replace(tape, masks=[tape.final_mask, None], final_mask=tape.masks[0])
    return _backward(dy, swapped, _Way())


@mistake("basic-block-backward-main-path-lost", "dx", MAIN_LOST)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(main=False))


@mistake(
    "basic-block-backward-skip-added-inside",
    "dx grads",
    "The skip path's gradient is added inside the main path. The two paths part at the block's input: that is where "
    "their gradients meet.",
)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(skip="inside"))


@mistake(
    "basic-block-backward-projection-normalisation-skipped",
    "dx grads",
    "On your way back along the projection, the normalisation is left out between the sum and the convolution.",
)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(projection_norm=False))


@mistake("basic-block-backward-shortcut-grads-missing", "grads", GRADS_MISSING)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), _without_shortcut)


@mistake(
    "basic-block-backward-shortcut-grads-zero",
    "grads",
    "The gradients of the projection's parameters are zeros. The projection is trained as well.",
)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(
        _backward(dy, tape, _Way()),
        lambda grads: {name: 0 * value if name.startswith("shortcut.") else value for name, value in grads.items()},
    )


@mistake("basic-block-backward-gamma-beta-swapped", "grads", GAMMA_BETA_SWAPPED)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), _gamma_beta_swapped)


@mistake("basic-block-backward-normalisations-swapped", "grads", NORMALISATIONS_SWAPPED)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), lambda grads: _exchanged(grads, "bn1.", "bn2."))


@mistake(
    "basic-block-backward-convolutions-swapped",
    "grads",
    "The gradients of the two convolutions are stored under each other's names.",
)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), lambda grads: _exchanged(grads, "conv1.", "conv2."))


@mistake("basic-block-backward-normalisation-constant", "dx grads", NORMALISATION_CONSTANT)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(constant=True))


@mistake("basic-block-backward-averaged", "grads", AVERAGED)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), lambda grads: {k: v / len(dy) for k, v in grads.items()})


def _with_grads(result: tuple[Array, dict[str, Array]], change: Any) -> tuple[Array, dict[str, Array]]:
    dx, grads = result
    return dx, change(grads)


def _without_shortcut(grads: dict[str, Array]) -> dict[str, Array]:
    return {name: value for name, value in grads.items() if not name.startswith("shortcut.")}


def _gamma_beta_swapped(grads: dict[str, Array]) -> dict[str, Array]:
    other = {"weight": "bias", "bias": "weight"}
    return {
        f"{layer}.{other[key]}" if "bn" in layer else f"{layer}.{key}": value
        for (layer, key), value in ((name.rsplit(".", 1), value) for name, value in grads.items())
    }


def _exchanged(grads: dict[str, Array], first: str, second: str) -> dict[str, Array]:
    """The gradients of two layers under each other's names."""
    other = {first: second, second: first}
    prefixes = {name: next((prefix for prefix in other if name.startswith(prefix)), "") for name in grads}
    return {other.get(prefixes[name], "") + name.removeprefix(prefixes[name]): value for name, value in grads.items()}


# ------------------------------------------------------------------------------------------ bottleneck_block_forward
mistake = mistakes_in(
    "bottleneck_block_forward", lambda wrong: _block("bottleneck_block", BOTTLENECK, wrong, forward=True)
)


@mistake(
    "bottleneck-stride-on-first-convolution",
    "y",
    "Your first 1x1 convolution has the stride, as in the first version of ResNet. Here it is the 3x3 convolution that "
    "has it.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, strided=0)


@mistake(
    "bottleneck-stride-on-third-convolution",
    "y",
    "Your last 1x1 convolution has the stride. It is the 3x3 convolution that has it.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, strided=2)


@mistake(
    "bottleneck-stride-ignored",
    "y",
    "The stride has no effect in your block: one convolution of the main path and the projection have it.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, strided=-1, shortcut_strided=False)


@mistake(
    "bottleneck-shortcut-forgotten",
    "y",
    "The shortcut is missing: the input, or its projection, has to be added to the result of the last normalisation.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, shortcut="none")


@mistake(
    "bottleneck-relu-before-sum",
    "y",
    "Your last ReLU comes before the sum with the shortcut. It belongs after it.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, rectified=(True, True, True), final_relu=False)


@mistake(
    "bottleneck-relu-before-and-after-sum",
    "y",
    "There is a ReLU too many in your block: between the third normalisation and the sum there is none.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, rectified=(True, True, True))


@mistake(
    "bottleneck-final-relu-missing",
    "y",
    "The last ReLU is missing: the sum of both paths is rectified.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, final_relu=False)


@mistake("bottleneck-first-relu-missing", "y", "The ReLU between the first and the second convolution is missing.")
def _(plan: _Plan) -> _Plan:
    return replace(plan, rectified=(False, True, False))


@mistake("bottleneck-second-relu-missing", "y", "The ReLU between the second and the third convolution is missing.")
def _(plan: _Plan) -> _Plan:
    return replace(plan, rectified=(True, False, False))


@mistake("bottleneck-third-normalisation-missing", "y", "The normalisation after the third convolution is missing.")
def _(plan: _Plan) -> _Plan:
    return replace(plan, norms=("bn1", "bn2", ""))


@mistake(
    "bottleneck-normalised-after-sum",
    "y",
    "Your last normalisation comes after the sum. The main path is normalised before the shortcut is added.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, normalised_after_sum=True)


@mistake(
    "bottleneck-projection-without-normalisation",
    "y",
    "The shortcut's normalisation is missing: a projection is a convolution and a normalisation.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, shortcut_norm=False)


@mistake(
    "bottleneck-shortcut-rectified",
    "y",
    "There is a ReLU on your shortcut. It is added as it is: only the sum is rectified.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, shortcut_relu=True)


@mistake(
    "bottleneck-always-training",
    "y",
    "Your normalisations always use the statistics of the batch. Look at what you do with the argument training.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, training=True)


@mistake(
    "bottleneck-always-evaluation",
    "y",
    "Your normalisations always use the running statistics. Look at what you do with the argument training.",
)
def _(plan: _Plan) -> _Plan:
    return replace(plan, training=False)


# ----------------------------------------------------------------------------------------- bottleneck_block_backward
mistake = mistakes_in(
    "bottleneck_block_backward", lambda wrong: _block("bottleneck_block", BOTTLENECK, wrong, forward=False)
)


@mistake("bottleneck-backward-skip-lost", "dx", SKIP_LOST)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(skip="lost"))


@mistake("bottleneck-backward-projection-lost", "dx", PROJECTION_LOST)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(skip="projection lost"))


@mistake("bottleneck-backward-skip-before-relu", "dx grads", SKIP_BEFORE_RELU)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(mask_on_skip=False))


@mistake("bottleneck-backward-final-relu-missing", "dx grads", FINAL_RELU_MISSING)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(mask_on_skip=False, mask_on_main=False))


@mistake(
    "bottleneck-backward-first-relu-missing",
    "dx grads",
    "On your way back, the ReLU between the first and the second convolution is missing.",
)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(masks=(-1, 1, -1)))


@mistake(
    "bottleneck-backward-second-relu-missing",
    "dx grads",
    "On your way back, the ReLU between the second and the third convolution is missing.",
)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(masks=(0, -1, -1)))


@mistake("bottleneck-backward-masks-swapped", "dx grads", MASKS_SWAPPED)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(masks=(1, 0, -1)))


@mistake("bottleneck-backward-main-path-lost", "dx", MAIN_LOST)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(main=False))


@mistake("bottleneck-backward-shortcut-grads-missing", "grads", GRADS_MISSING)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), _without_shortcut)


@mistake("bottleneck-backward-gamma-beta-swapped", "grads", GAMMA_BETA_SWAPPED)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), _gamma_beta_swapped)


@mistake("bottleneck-backward-normalisations-swapped", "grads", NORMALISATIONS_SWAPPED)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), lambda grads: _exchanged(grads, "bn1.", "bn2."))


@mistake("bottleneck-backward-normalisation-constant", "dx grads", NORMALISATION_CONSTANT)
def _(dy: Array, tape: _Tape) -> Any:
    return _backward(dy, tape, _Way(constant=True))


@mistake("bottleneck-backward-averaged", "grads", AVERAGED)
def _(dy: Array, tape: _Tape) -> Any:
    return _with_grads(_backward(dy, tape, _Way()), lambda grads: {k: v / len(dy) for k, v in grads.items()})
