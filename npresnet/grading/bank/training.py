"""Mistakes in the optimiser and in the training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import solution
from ..part import Array
from .mistake import Functions, Wrong, mistakes_in


# ------------------------------------------------------------------------------------------------- sgd_momentum_step
@dataclass
class _Step:
    """A step that was asked for, and what is right."""

    p: Array
    grad: Array
    v: Array
    lr: float
    mu: float
    decay: float

    @property
    def g(self) -> Array:
        """The gradient with weight decay."""
        return self.grad + self.decay * self.p

    @property
    def new_v(self) -> Array:
        return self.mu * self.v + self.g

    def along(self, v: Array) -> tuple[Array, Array]:
        """The step with another velocity."""
        return self.p - self.lr * v, v


def _sgd_momentum_step(wrong: Wrong) -> Functions:
    """``wrong(step)`` returns the parameter and the velocity."""

    def sgd_momentum_step(
        param: Array, grad: Array, velocity: Array, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> tuple[Array, Array]:
        return wrong(_Step(param, grad, velocity, lr, momentum, weight_decay))

    return {"sgd_momentum_step": sgd_momentum_step}


mistake = mistakes_in("sgd_momentum_step", _sgd_momentum_step)


@mistake(
    "sgd-lr-in-velocity",
    "param velocity",
    "The learning rate is inside your velocity. In PyTorch's convention it is applied when the parameter moves.",
)
def _(step: _Step) -> Any:
    v = step.mu * step.v + step.lr * step.g
    return step.p - v, v


@mistake(
    "sgd-dampened",
    "param velocity",
    "Your velocity is a moving average: the new gradient is scaled down. Here it is added as it is.",
)
def _(step: _Step) -> Any:
    return step.along(step.mu * step.v + (1 - step.mu) * step.g)


@mistake(
    "sgd-momentum-on-gradient",
    "param velocity",
    "Momentum scales the new gradient, too, in your velocity. Only the old velocity fades.",
)
def _(step: _Step) -> Any:
    return step.along(step.mu * (step.v + step.g))


@mistake(
    "sgd-nesterov",
    "param",
    "Your step looks ahead, as Nesterov's does. What is asked for moves along the velocity alone.",
)
def _(step: _Step) -> Any:
    return step.along(step.g + step.mu * step.new_v)[0], step.new_v


@mistake(
    "sgd-momentum-forgotten",
    "param velocity",
    "Your velocity forgets the earlier steps: the old velocity has no effect.",
)
def _(step: _Step) -> Any:
    return step.along(step.g)


@mistake(
    "sgd-velocity-not-used",
    "param",
    "Your parameter moves along the gradient, though the velocity is right. It should move along the velocity.",
)
def _(step: _Step) -> Any:
    return step.along(step.g)[0], step.new_v


@mistake(
    "sgd-old-velocity-used",
    "param",
    "Your parameter moves along the old velocity. The new one comes first, the step after it.",
)
def _(step: _Step) -> Any:
    return step.along(step.v)[0], step.new_v


@mistake(
    "sgd-old-velocity-returned",
    "velocity",
    "You return the velocity as it was before the step.",
)
def _(step: _Step) -> Any:
    return step.along(step.new_v)[0], step.v.copy()


@mistake(
    "sgd-velocity-negated",
    "param velocity",
    "Your velocity points downhill and has the learning rate inside. Here it sums gradients; the sign and the learning "
    "rate come in when the parameter moves.",
)
def _(step: _Step) -> Any:
    v = step.mu * step.v - step.lr * step.g
    return step.p + v, v


@mistake("sgd-ascent", "param", "Your step goes uphill: the sign of the step is wrong.")
def _(step: _Step) -> Any:
    return step.p + step.lr * step.new_v, step.new_v


@mistake("sgd-lr-forgotten", "param", "The learning rate has no effect in your step.")
def _(step: _Step) -> Any:
    return step.p - step.new_v, step.new_v


@mistake("sgd-weight-decay-forgotten", "param velocity", "Weight decay has no effect in your step.")
def _(step: _Step) -> Any:
    return step.along(step.mu * step.v + step.grad)


@mistake(
    "sgd-weight-decay-decoupled",
    "velocity",
    "Your weight decay shrinks the parameter directly, as AdamW does. Here it is part of the gradient, and so of the "
    "velocity.",
)
def _(step: _Step) -> Any:
    param, v = step.along(step.mu * step.v + step.grad)
    return param - step.lr * step.decay * step.p, v


@mistake(
    "sgd-weight-decay-negated",
    "param velocity",
    "Your weight decay has the wrong sign: it makes the weights grow.",
)
def _(step: _Step) -> Any:
    return step.along(step.mu * step.v + step.grad - step.decay * step.p)


@mistake(
    "sgd-weight-decay-doubled",
    "param velocity",
    "Your weight decay counts twice. It is the gradient of half the squared weights.",
)
def _(step: _Step) -> Any:
    return step.along(step.new_v + step.decay * step.p)


@mistake(
    "sgd-weight-decay-of-sign",
    "param velocity",
    "Your weight decay has the same size for every weight (L1). It should be in proportion to the weight.",
)
def _(step: _Step) -> Any:
    return step.along(step.mu * step.v + step.grad + step.decay * np.sign(step.p))


# ------------------------------------------------------------------------------------------------ train_small_resnet
Params = dict[str, Array]


@dataclass
class _Network:
    """The small ResNet as it is put together, possibly wrongly."""

    training: bool = True
    stem_padding: int = 1
    stem_norm: bool = True
    stem_relu: bool = True
    second_stride: int = 2
    pool_summed: bool = False

    def loss_and_gradients(self, images: Array, labels: Array, params: Params) -> tuple[float, Params]:
        """Forward and backward; a layer that is left out has gradients of zero."""
        grads: Params = {name: np.zeros_like(value) for name, value in params.items() if "running" not in name}
        h, conv = solution.conv2d_forward(images, params["stem.conv.weight"], padding=self.stem_padding)
        if self.stem_norm:
            values = [params[f"stem.bn.{key}"] for key in ("weight", "bias", "running_mean", "running_var")]
            h, norm, *_ = solution.batchnorm2d_forward(h, values[0], values[1], values[2], values[3], self.training)
        mask: Any = h > 0 if self.stem_relu else 1
        h, first = solution.basic_block_forward(h * mask, _under(params, "block1."), 1, self.training)
        h, second = solution.basic_block_forward(h, _under(params, "block2."), self.second_stride, self.training)
        pooled, shape = solution.global_avg_pool_forward(h)
        scale = h.shape[2] * h.shape[3] if self.pool_summed else 1
        logits, head = solution.linear_forward(pooled * scale, params["head.weight"], params["head.bias"])
        loss, dlogits = solution.softmax_cross_entropy(logits, labels)

        dpooled, grads["head.weight"], grads["head.bias"] = solution.linear_backward(dlogits, head)
        dh, grads2 = solution.basic_block_backward(solution.global_avg_pool_backward(dpooled * scale, shape), second)
        dh, grads1 = solution.basic_block_backward(dh, first)
        grads |= {f"block1.{name}": value for name, value in grads1.items()}
        grads |= {f"block2.{name}": value for name, value in grads2.items()}
        dh = dh * mask
        if self.stem_norm:
            dh, grads["stem.bn.weight"], grads["stem.bn.bias"] = solution.batchnorm2d_backward(dh, norm)
        grads["stem.conv.weight"] = solution.conv2d_backward(dh, conv)[1]
        return loss, grads


def _under(params: Params, prefix: str) -> Params:
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


@dataclass
class _Run:
    """A training run that was asked for."""

    images: Array
    labels: Array
    params: Params
    steps: int
    lr: float
    momentum: float

    def train(
        self,
        network: _Network | None = None,
        steps: int | None = None,
        momentum: float | None = None,
        decay: float = 0.0,
        sign: float = 1.0,
        frozen: Callable[[str], bool] = lambda name: False,
        gradients: Callable[[list[Params]], Params] = lambda history: history[-1],
    ) -> tuple[Array, Params]:
        """The losses and the parameters of a run with something changed.

        ``gradients`` makes those of a step from those of all steps so far; names for which ``frozen`` is true keep
        their values.
        """
        network, params = network or _Network(), dict(self.params)
        steps = self.steps if steps is None else steps
        momentum = self.momentum if momentum is None else momentum
        velocities = {name: np.zeros_like(value) for name, value in params.items() if "running" not in name}
        losses, history = np.empty(steps), []
        for step in range(steps):
            losses[step], grads = network.loss_and_gradients(self.images, self.labels, params)
            history.append(grads)
            grads = gradients(history)
            for name in velocities:
                if not frozen(name):
                    params[name], velocities[name] = solution.sgd_momentum_step(
                        params[name], grads[name], velocities[name], sign * self.lr, momentum, decay
                    )
        return losses, params


def _train_small_resnet(wrong: Wrong) -> Functions:
    """``wrong(run)`` returns the losses and the parameters."""

    def train_small_resnet(
        images: Array, labels: Array, params: Params, steps: int, lr: float, momentum: float = 0.9
    ) -> tuple[Array, Params]:
        return wrong(_Run(images, labels, params, steps, lr, momentum))

    return {"train_small_resnet": train_small_resnet}


mistake = mistakes_in("train_small_resnet", _train_small_resnet)


@mistake(
    "train-momentum-lost",
    "losses params",
    "Your steps have no momentum: the velocities have to be kept from one step to the next.",
)
def _(run: _Run) -> Any:
    return run.train(momentum=0.0)


@mistake(
    "train-momentum-fixed",
    "losses params",
    "Your training does not depend on the argument momentum.",
)
def _(run: _Run) -> Any:
    return run.train(momentum=0.9)


@mistake(
    "train-loss-after-step",
    "losses",
    "Your losses are those after each step. What is asked for is the loss before it, the one that was differentiated.",
)
def _(run: _Run) -> Any:
    losses, _ = run.train(steps=run.steps + 1)
    return losses[1:], run.train()[1]


@mistake(
    "train-losses-averaged",
    "losses",
    "Your losses are means over the steps so far. Each step has its own.",
)
def _(run: _Run) -> Any:
    losses, params = run.train()
    return np.cumsum(losses) / np.arange(1, run.steps + 1), params


@mistake("train-head-not-trained", "losses params", "The head keeps its values: its weight and bias are trained, too.")
def _(run: _Run) -> Any:
    return run.train(frozen=lambda name: name.startswith("head."))


@mistake("train-stem-not-trained", "losses params", "The stem keeps its values: it is trained, too.")
def _(run: _Run) -> Any:
    return run.train(frozen=lambda name: name.startswith("stem."))


@mistake(
    "train-biases-not-trained",
    "losses params",
    "The biases keep their values, those of the normalisations among them. All weights and biases are trained.",
)
def _(run: _Run) -> Any:
    return run.train(frozen=lambda name: name.endswith(".bias"))


@mistake(
    "train-normalisations-not-trained",
    "losses params",
    "The normalisations keep their weights and biases. They are trained, too.",
)
def _(run: _Run) -> Any:
    return run.train(frozen=lambda name: ".bn" in name)


@mistake(
    "train-weight-decay",
    "losses params",
    "Your training has weight decay. None is asked for.",
)
def _(run: _Run) -> Any:
    return run.train(decay=2e-2)


@mistake(
    "train-last-step-missing",
    "params",
    "The last step is missing in the parameters that you return: each loss is followed by a step.",
)
def _(run: _Run) -> Any:
    return run.train()[0], run.train(steps=run.steps - 1)[1]


@mistake(
    "train-one-step-too-many",
    "params",
    "You make one step too many.",
)
def _(run: _Run) -> Any:
    return run.train()[0], run.train(steps=run.steps + 1)[1]


@mistake(
    "train-gradients-accumulated",
    "losses params",
    "Gradients of earlier steps are still in yours. Each step begins with fresh ones.",
)
def _(run: _Run) -> Any:
    def summed(history: list[Params]) -> Params:
        return {name: np.sum([grads[name] for grads in history], axis=0) for name in history[-1]}

    return run.train(gradients=summed)


@mistake(
    "train-gradients-of-the-start",
    "losses params",
    "All your steps use the gradients of the first one. They change with the parameters.",
)
def _(run: _Run) -> Any:
    return run.train(gradients=lambda history: history[0])


@mistake(
    "train-running-statistics-updated",
    "params",
    "You return changed running statistics. They should be as they were.",
)
def _(run: _Run) -> Any:
    kept: dict[str, Any] = {}
    losses, params = run.train(network=_Watched(kept))
    return losses, params | {name: value for name, value in kept.items() if name in params}


class _Watched(_Network):
    """The right network, which keeps running statistics."""

    def __init__(self, kept: Params) -> None:
        super().__init__()
        self.kept = kept

    def loss_and_gradients(self, images: Array, labels: Array, params: Params) -> tuple[float, Params]:
        current = params | self.kept

        def normalised(h: Array, name: str) -> Array:
            values = [current[f"{name}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")]
            y, _, mean, var = solution.batchnorm2d_forward(h, values[0], values[1], values[2], values[3], True)
            self.kept |= {f"{name}.running_mean": mean, f"{name}.running_var": var}
            return y

        def convolved(h: Array, name: str, stride: int = 1) -> Array:
            weight = current[f"{name}.weight"]
            return solution.conv2d_forward(h, weight, stride=stride, padding=weight.shape[2] // 2)[0]

        h = np.maximum(normalised(convolved(images, "stem.conv"), "stem.bn"), 0)
        for block, stride in (("block1", 1), ("block2", 2)):
            inner = np.maximum(normalised(convolved(h, f"{block}.conv1", stride), f"{block}.bn1"), 0)
            inner = normalised(convolved(inner, f"{block}.conv2"), f"{block}.bn2")
            if f"{block}.shortcut.conv.weight" in params:
                h = normalised(convolved(h, f"{block}.shortcut.conv", stride), f"{block}.shortcut.bn")
            h = np.maximum(inner + h, 0)
        return super().loss_and_gradients(images, labels, params)


@mistake(
    "train-evaluation-mode",
    "losses params",
    "Your network runs in evaluation mode: while it is trained, the statistics are those of the batch.",
)
def _(run: _Run) -> Any:
    return run.train(_Network(training=False))


@mistake(
    "train-second-block-not-strided",
    "losses params",
    "Your second block has no stride: it should halve the image.",
)
def _(run: _Run) -> Any:
    return run.train(_Network(second_stride=1))


@mistake("train-stem-relu-missing", "losses params", "The ReLU of the stem is missing.")
def _(run: _Run) -> Any:
    return run.train(_Network(stem_relu=False))


@mistake("train-stem-normalisation-missing", "losses params", "The normalisation of the stem is missing.")
def _(run: _Run) -> Any:
    return run.train(_Network(stem_norm=False))


@mistake("train-pool-summed", "losses params", "Your network sums over the image before the head. It should average.")
def _(run: _Run) -> Any:
    return run.train(_Network(pool_summed=True))


@mistake(
    "train-stem-padding-missing",
    "losses params",
    "The stem's convolution has no padding in your network: it should leave the size of the image as it is.",
)
def _(run: _Run) -> Any:
    return run.train(_Network(stem_padding=0))


@mistake("train-ascent", "losses params", "Your steps go uphill: the sign of the step is wrong.")
def _(run: _Run) -> Any:
    return run.train(sign=-1.0)


@mistake(
    "train-params-of-the-start",
    "params",
    "You return the parameters that you were given. What is asked for are those after the last step.",
)
def _(run: _Run) -> Any:
    return run.train()[0], dict(run.params)
