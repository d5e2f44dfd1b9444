"""One step of the optimiser: from one batch or several to new weights, or to an explanation why not."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import ops
from ..nn import Parameter
from ..resnet import ResNetForImageClassification
from .averaging import ExponentialAverage
from .clipping import clip_gradients
from .diagnosis import Statistics, TrainingDiverged, find_origin
from .mixing import mix
from .optimizers import Optimizer
from .recipe import Recipe
from .schedules import Schedule
from .step import NumberedGenerator, Step, make_step, mixing_generator

Array = NDArray[np.floating]


class Outcome(NamedTuple):
    """What a step saw: its images, the sum of their losses, how many were right, and its batches."""

    images: int
    loss: float
    right: int
    batches: int


class _NotFinite(Exception):
    """Something is not finite; the arguments say what, and give the pixel values."""


class Descent:
    """Takes the steps of a training.

    Either a step is taken completely, or the model and everything else are as they were before it.

    Parameters
    ----------
    model : ResNetForImageClassification
    recipe : Recipe
    optimizer : Optimizer
    schedule : Schedule
    average : ExponentialAverage, optional

    Attributes
    ----------
    is_torn : bool
        A step was cut short (by a second Ctrl-C) while weights were being changed: they are of no use any more.
    """

    def __init__(
        self,
        model: ResNetForImageClassification,
        recipe: Recipe,
        optimizer: Optimizer,
        schedule: Schedule,
        average: ExponentialAverage | None,
    ) -> None:
        self.optimizer, self.schedule, self.average = optimizer, schedule, average
        self._model, self._recipe = model, recipe
        self._generator = NumberedGenerator(model, recipe.run.seed)
        self._step: Step | None = None
        self.is_torn = False

    def prepare(self) -> None:
        """Make forward and backward pass anew: other parameters learn, or other statistics are held."""
        self._step = make_step(self._model, self._recipe.run.checkpoint_activations)

    def learning_rate(self, step: int) -> float:
        """Of a step, counted from 0."""
        return self._recipe.optimizer.lr * self.schedule(step)

    def take(self, batches: Iterator[Any], count: int, step: int, first: int) -> Outcome:
        """Take a step.

        Parameters
        ----------
        batches : iterator of Batch
        count : int
            How many of them make the step.
        step : int
            The number of the step, and
        first : int
            that of its first batch, both counted over all epochs from 0.

        Raises
        ------
        TrainingDiverged
            If the loss or a gradient is not finite; without the place in the training, which the caller knows.
        """
        statistics = Statistics(self._model)
        try:
            outcome = self._differentiate_all(batches, count, first)
        except _NotFinite as error:
            statistics.restore()
            what, pixel_values, batch = error.args
            self._generator.set(batch)  # the same values are dropped again
            with np.errstate(all="ignore"):
                origin = find_origin(self._model, pixel_values)
            statistics.restore()
            self.optimizer.zero_grad()
            raise TrainingDiverged(f"{what}, learning rate {self.learning_rate(step):.4g}; {origin}") from None
        except BaseException:
            statistics.restore()
            self.optimizer.zero_grad()
            raise
        self.is_torn = True
        self.optimizer.step(self.learning_rate(step))
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update()
        self.is_torn = False
        return outcome

    def _differentiate_all(self, batches: Iterator[Any], count: int, first: int) -> Outcome:
        """Compute the gradient of the mean loss over all images of some batches."""
        images, loss, right, nominal = 0, 0.0, 0, 0
        batch: Any = None
        for number in range(count):
            batch = next(batches, None)
            if batch is None:
                raise ValueError(f"the loader ended {count - number} batches before its length")
            size = len(batch.labels)
            nominal = nominal or count * size
            batch_loss, batch_right = self._differentiate(batch, first + number, size / nominal)
            images, loss, right = images + size, loss + batch_loss * size, right + batch_right
        if nominal != images:  # a last batch was smaller than the others
            for parameter in self._parameters():
                if parameter.grad is not None:
                    parameter.grad = parameter.grad * parameter.dtype.type(nominal / images)
        clip_norm = self._recipe.optimizer.clip_norm
        norm = clip_gradients(self._parameters(), math.inf if clip_norm is None else clip_norm)
        if not math.isfinite(norm):
            raise _NotFinite("a gradient is not finite", batch.pixel_values, first + count - 1)
        return Outcome(images, loss, right, count)

    def _differentiate(self, batch: Any, number: int, weight: float) -> tuple[float, int]:
        """Add the gradients of a batch, times ``weight``; return its mean loss and how many images were right."""
        own = self._recipe.regularization
        pixel_values, targets, labels = batch.pixel_values, batch.labels, batch.labels
        if own.mixup_alpha or own.cutmix_alpha:
            pixel_values, targets = mix(
                pixel_values, labels, self._model.config.num_labels, mixing_generator(self._recipe.run.seed, number),
                own.mixup_alpha, own.cutmix_alpha, own.mix_probability,
            )  # fmt: skip
            labels = targets.argmax(axis=1)
        self._generator.set(number)
        if self._step is None:
            self.prepare()
        assert self._step is not None
        with np.errstate(over="ignore", invalid="ignore"):  # the explanation says it better
            logits = self._step.forward(pixel_values)
            loss, cache = ops.cross_entropy(logits, targets, own.label_smoothing)
            if not math.isfinite(loss):
                raise _NotFinite(f"the loss is {loss}", pixel_values, number)
            self._step.backward(ops.cross_entropy_backward(cache, weight))
        return loss, int((logits.argmax(axis=1) == labels).sum())

    def _parameters(self) -> list[Parameter]:
        return [parameter for group in self.optimizer.groups for parameter in group.parameters]

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which the model has the weights that are the result: their average, if there is one."""
        return contextlib.nullcontext() if self.average is None else self.average.swapped()
