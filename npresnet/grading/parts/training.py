"""Parts 6.1, 6.2 and 7.1: a step of gradient descent, a small training, and the same training with nothing stood in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import npresnet
from npresnet import ops

from .. import tolerance
from ..part import Array, Criterion, Expected, Inputs, Part, Settings, Step
from ..tolerance import Rounding
from .arithmetic import ATTEMPTS, Arithmetic, Params, is_clear
from .blocks import basic_parameters, normalization_parameters
from .drawing import given, in_turn, options, values

_NUMBERS = ("momentum", "weight_decay")
_SECTION = "00_tour.ipynb#8.-Forward,-loss,-backward"

# ---------------------------------------------------------------------------------------------- one step
_PLAIN: dict[str, Any] = {
    "axes": 1, "A": 1, "B": 3, "moving": True, "lr": "0.1", "momentum": "default", "weight_decay": "default",
}  # fmt: skip


def _draw_step(settings: Settings, rng: np.random.Generator) -> Inputs:
    shape = {1: (settings["B"],), 2: (settings["A"], settings["B"]), 4: (settings["A"], settings["B"], 3, 2)}
    size = shape[settings["axes"]]
    velocity = values(rng, *size)
    return {
        "old_param": values(rng, *size),
        "grad": values(rng, *size),
        "old_velocity": velocity if settings["moving"] else 0 * velocity,
        "lr": float(settings["lr"]),
        **given(settings, _NUMBERS),
    }


def _script_step(settings: Settings) -> tuple[Step, ...]:
    args = ("old_param", "grad", "old_velocity", "lr")
    chosen = options(tuple(given(settings, _NUMBERS)))
    return (Step("sgd_momentum_step", args, ("param", "velocity"), chosen),)


def _answer_step(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    param, grad, old, lr = (inputs[name] for name in ("old_param", "grad", "old_velocity", "lr"))
    momentum, decay = inputs.get("momentum", 0.9), inputs.get("weight_decay", 0.0)
    velocity = momentum * old + (grad + decay * param)
    bound = tolerance.products(3, momentum * np.abs(old) + np.abs(grad) + decay * np.abs(param))
    moved = 2 * np.abs(param) + lr * (bound + 3 * np.abs(velocity))
    return {"param": Expected(param - lr * velocity, moved), "velocity": Expected(velocity, bound)}


SGD_MOMENTUM_STEP = Part(
    name="sgd_momentum_step",
    task="6.1",
    functions=("sgd_momentum_step",),
    outputs={"param": 0.5, "velocity": 0.5},
    criteria=(
        Criterion("from rest", 0.2, in_turn({}, {"axes": 2, "A": 2, "B": (3, 5)}, **{**_PLAIN, "moving": False})),
        Criterion("with a velocity", 0.3, in_turn({}, {"axes": 2, "A": 3, "B": (2, 5), "lr": "0.03"}, **_PLAIN)),
        Criterion(
            "another momentum", 0.2, in_turn({"momentum": "0.5"}, {"B": 5, "momentum": "0.75", "lr": "0.5"}, **_PLAIN)
        ),
        Criterion(
            "weight decay",
            0.2,
            in_turn({"weight_decay": "0.1"}, {"axes": 2, "A": (2, 3), "B": 4, "weight_decay": "0.01"}, **_PLAIN),
        ),
        Criterion(
            "weights of a convolution, float32",
            0.1,
            in_turn({"axes": 4}, {"axes": 4, "A": 2, "B": (2, 3), "weight_decay": "0.2"}, **_PLAIN),
            dtype="float32",
        ),
    ),
    draw=_draw_step,
    script=_script_step,
    answer=_answer_step,
    points=3,
    smallest={"A": 1, "B": 1},
    section=_SECTION,
)


# ---------------------------------------------------------------------------------------------- a small training
_STATISTICS = ("stem.bn.running_mean", "stem.bn.running_var")
"""The running statistics that are marked: they keep their values. The others are not, or whoever returns the parameters
as they came would be right about a third of them."""
FEW = 4
"""Steps after which rounding still says how exact an answer can be."""
LEARNED = 0.25
"""A batch is known by heart when no more than this part of the first loss is left."""
ROOM = 0.1
"""Of the first loss, and of the way that a parameter has come, for answers of a long training."""
_SMALL: dict[str, Any] = {
    "N": 2, "A": 2, "B": 3, "K": 2, "H": 4, "W": 4, "steps": 1, "lr": "0.1", "momentum": "default",
}  # fmt: skip


def _draw_training(settings: Settings, rng: np.random.Generator) -> Inputs:
    N, A, B, K, H, W = (settings[name] for name in ("N", "A", "B", "K", "H", "W"))
    for _ in range(ATTEMPTS):
        params = {"stem.conv.weight": 0.5 * values(rng, A, 3, 3, 3), **normalization_parameters(rng, "stem.bn", A)}
        for block, sizes in (("block1", (A, A, False)), ("block2", (A, B, True))):
            params |= {f"{block}.{name}": value for name, value in basic_parameters(rng, *sizes).items()}
        params |= {"head.weight": values(rng, K, B), "head.bias": values(rng, K)}
        inputs = {
            "images": values(rng, N, 3, H, W),
            "labels": (rng.permutation(N) % K).astype(np.int64),
            "initial_params": params,
            "steps": settings["steps"],
            "lr": float(settings["lr"]),
            **given(settings, ("momentum",)),
        }
        a = Arithmetic(tolerance.exact, training=True)
        with npresnet.use_backend("numpy"):
            losses, _ = _train(a, inputs)
        if is_clear(a) if settings["steps"] <= FEW else losses[-1] < LEARNED * losses[0]:
            return inputs
    raise ValueError(f"no suitable numbers for a training in {ATTEMPTS} attempts, with {dict(settings)}")


def _train(a: Arithmetic, inputs: Inputs) -> tuple[Array, Params]:
    """Losses and trained parameters."""
    (images,), params = a.inputs(inputs["images"]), a.parameters(inputs["initial_params"])
    lr, momentum = inputs["lr"], inputs.get("momentum", 0.9)
    velocities: Params = {}
    losses = []
    for _ in range(inputs["steps"]):
        loss, grads = _loss_and_gradients(a, images, inputs["labels"], params)
        losses.append(loss)
        for name, grad in grads.items():
            velocity = grad + momentum * velocities[name] if name in velocities else grad
            velocities[name] = a.rounding(velocity, lambda velocity=velocity: 3 * np.abs(velocity))  # type: ignore[misc]
            moved = params[name] - lr * velocities[name]
            params[name] = a.rounding(moved, lambda moved=moved: 3 * np.abs(moved))  # type: ignore[misc]
    return np.array(losses), params


def _loss_and_gradients(a: Arithmetic, images: Array, labels: Array, params: Params) -> tuple[float, Params]:
    blocks = [
        {name.removeprefix(f"{block}."): value for name, value in params.items() if name.startswith(f"{block}.")}
        for block in ("block1", "block2")
    ]
    h, stem = a.convolution(images, params, "stem.conv", padding=1)
    h, bn = a.normalization(h, params, "stem.bn")
    h, relu = a.relu(h)
    h, block1 = a.basic_block(h, blocks[0], stride=1)
    h, block2 = a.basic_block(h, blocks[1], stride=2)
    pooled, pool = ops.global_pool2d(h)
    pixels = h[0, 0].size
    pooled = a.rounding(pooled, lambda: tolerance.products(pixels, ops.global_pool2d(np.abs(h))[0]))
    features, weight, bias = pooled[:, :, 0, 0], params["head.weight"], params["head.bias"]
    logits, head = ops.linear(features, weight, bias)
    terms = len(weight[0]) + 1
    logits = a.rounding(logits, lambda: tolerance.products(terms, np.abs(features) @ np.abs(weight).T + np.abs(bias)))
    loss, softmax = ops.cross_entropy(logits, labels)
    loss = float(a.rounding(np.asarray(loss), lambda: np.asarray(tolerance.cross_entropy(logits, labels)[0])))

    d = ops.cross_entropy_backward(softmax)
    d = a.rounding(d, lambda: tolerance.cross_entropy(logits, labels)[1])
    dfeatures, dweight, dbias = map(np.asarray, ops.linear_backward(d, head))
    dfeatures = a.rounding(dfeatures, lambda: tolerance.products(len(weight), np.abs(d) @ np.abs(weight)))
    dweight = a.rounding(dweight, lambda: tolerance.products(len(d), np.abs(d).T @ np.abs(features)))
    dbias = a.rounding(dbias, lambda: tolerance.products(len(d), np.abs(d).sum(axis=0)))
    dh = ops.global_pool2d_backward(dfeatures[:, :, None, None], pool)
    dh, grads2 = block2(dh)
    dh, grads1 = block1(dh)
    dh, grads_bn = bn(relu(dh))
    _, grads_stem = stem(dh)
    return loss, {
        **grads_stem,
        **grads_bn,
        **{f"block1.{name}": value for name, value in grads1.items()},
        **{f"block2.{name}": value for name, value in grads2.items()},
        "head.weight": dweight,
        "head.bias": dbias,
    }


def _script_training(settings: Settings) -> tuple[Step, ...]:
    args = ("images", "labels", "initial_params", "steps", "lr")
    return (Step("train_small_resnet", args, ("losses", "params"), options(tuple(given(settings, ("momentum",))))),)


def _answer_training(inputs: Inputs, settings: Settings) -> dict[str, Expected]:
    def compute(rounding: Rounding) -> dict[str, Array]:
        losses, params = _train(Arithmetic(rounding, training=True), inputs)
        marked = {f"params/{name}": value for name, value in params.items() if "running" not in name}
        marked |= {f"params/{name}": params[name] for name in _STATISTICS}
        return {"losses": losses, **marked}

    with npresnet.use_backend("numpy"):
        return tolerance.measured(compute) if settings["steps"] <= FEW else _learned(compute(tolerance.exact), inputs)


def _learned(answers: Mapping[str, Array], inputs: Inputs) -> dict[str, Expected]:
    """Answers of a long training. After many steps some ReLU input has come so close to zero that rounding decides, so
    it is not rounding that the bounds stand for: losses must agree to a part of the first one, and parameters to a part
    of the way that they have come. Whoever has not learned the batch by heart is further off."""
    initial = {f"params/{name}": value for name, value in inputs["initial_params"].items()}
    first = answers["losses"][0]
    expected = {"losses": Expected(answers["losses"], ROOM * first / tolerance.ROUNDOFF)}
    for name, value in answers.items():
        if name in initial:
            way = np.abs(value - initial[name]).max()
            expected[name] = Expected(value, 2 * np.abs(value) + ROOM * way / tolerance.ROUNDOFF)
    return expected


def _sensible(settings: Settings) -> bool:
    """Every normalisation sees at least four values of a channel."""
    return settings["N"] * -(-settings["H"] // 2) * -(-settings["W"] // 2) >= 4


_TRAINING: dict[str, Any] = {
    "outputs": {"losses": 0.4, "params": 0.6},
    "draw": _draw_training,
    "script": _script_training,
    "answer": _answer_training,
    "smallest": {"N": 2, "K": 2, "H": 3, "W": 3, "steps": 1},
    "sensible": _sensible,
    "section": _SECTION,
}

TRAIN_SMALL_RESNET = Part(
    name="train_small_resnet",
    task="6.2",
    functions=("train_small_resnet",),
    criteria=(
        Criterion("one step", 0.3, in_turn({}, {"N": 3, "K": 3, "H": 5, "W": 4}, **_SMALL)),
        Criterion("three steps", 0.3, in_turn({"steps": 2}, {"N": 3, "K": 3, "H": (4, 5), "steps": 3}, **_SMALL)),
        Criterion("another momentum", 0.2, in_turn({"steps": 3, "lr": "0.05", "momentum": "0.5"}, **_SMALL), count=1),
        Criterion("learned by heart", 0.1, in_turn({"N": 3, "K": 3, "steps": 20}, **_SMALL), count=1),
        Criterion("float32", 0.1, in_turn({"steps": 2, "W": 5}, **_SMALL), count=1, dtype="float32"),
    ),
    points=5,
    **_TRAINING,
)

WHOLE = Part(
    name="whole",
    task="7.1",
    functions=(
        "conv2d_forward",
        "conv2d_backward",
        "batchnorm2d_forward",
        "batchnorm2d_backward",
        "relu_forward",
        "relu_backward",
        "global_avg_pool_forward",
        "global_avg_pool_backward",
        "linear_forward",
        "linear_backward",
        "softmax_cross_entropy",
        "basic_block_forward",
        "basic_block_backward",
        "sgd_momentum_step",
        "train_small_resnet",
    ),
    criteria=(
        Criterion("one step", 0.4, in_turn({}, {"N": 3, "K": 3, "H": 4, "W": 5}, **_SMALL)),
        Criterion("three steps", 0.4, in_turn({"steps": 3}, {"N": 3, "K": 4, "H": 5, "steps": 3}, **_SMALL)),
        Criterion("learned by heart", 0.2, in_turn({"N": 3, "K": 3, "steps": 20}, **_SMALL), count=1),
    ),
    points=4,
    stand_ins=False,
    **_TRAINING,
)
