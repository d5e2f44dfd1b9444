"""Which implementation of a training step a model gets, and what is handed on to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from small import network, pixels

import npresnet
from npresnet.train.compiled import CompiledStep
from npresnet.train.step import TrainingStep, make_step


def steps_of(model: Any, **options: bool) -> tuple[CompiledStep, list[np.ndarray]]:
    """Take a step and return it, and copies of the gradients."""
    step = make_step(model, **options)
    assert isinstance(step, CompiledStep)
    logits = step.forward(pixels())
    step.backward(np.sin(np.arange(logits.size)).reshape(logits.shape))
    return step, [parameter.grad.copy() for parameter in model.parameters()]


def test_activations_are_checkpointed_where_that_is_asked_for() -> None:
    with npresnet.use_backend("numba"):
        keeping, gradients = steps_of(network())
        saving, again = steps_of(network(), checkpoint_activations=True)
    assert saving.plan.memory_bytes < keeping.plan.memory_bytes
    for mine, other in zip(again, gradients, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_ordinary_path_takes_what_the_engine_does_not() -> None:
    with npresnet.use_backend("numba"):
        assert isinstance(make_step(network(dtype="float64"), checkpoint_activations=True), TrainingStep)
    with npresnet.use_backend("numpy"):
        assert isinstance(make_step(network(), checkpoint_activations=True), TrainingStep)
