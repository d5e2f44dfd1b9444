"""Where numbers stop being finite: the layer, the weights or the images that a diverged step comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn import BatchNorm2d, Module, Parameter
from ..resnet import ResNetForImageClassification

Array = NDArray[np.floating]


class TrainingDiverged(ValueError):
    """The loss or a gradient is NaN or infinite; the message says where that began, at which step, and what to do."""


class Statistics:
    """The running statistics of all BatchNorms, to be put back if a step has to be forgotten.

    Parameters
    ----------
    model : Module
    """

    def __init__(self, model: Module) -> None:
        norms = [module for _, module in model.named_modules() if isinstance(module, BatchNorm2d)]
        self._before = [
            (norm, norm.running_mean.copy(), norm.running_var.copy(), norm.num_batches_tracked) for norm in norms
        ]

    def restore(self) -> None:
        """Put them back."""
        for norm, mean, variance, count in self._before:
            norm.running_mean, norm.running_var, norm.num_batches_tracked = mean.copy(), variance.copy(), count


def find_origin(model: ResNetForImageClassification, pixel_values: Array) -> str:
    """Say where the numbers that are not finite come from: images, weights, a layer, or a gradient.

    Parameters
    ----------
    model : ResNetForImageClassification
        As it was before the step, with the gradients of the step if there are any. Running statistics are changed.
    pixel_values : (N, C, H, W)
        The images of the step.
    """
    bad_images = np.flatnonzero(~np.isfinite(pixel_values).all(axis=(1, 2, 3)))
    if bad_images.size:
        return f"image {bad_images[0]} of the batch itself holds numbers that are not finite"
    for name, value in model._arrays().items():
        if not np.isfinite(value).all():
            return f"{name} holds numbers that are not finite: {_count(value)}"
    in_forward = _first_layer(model, pixel_values)
    if in_forward is not None:
        return in_forward
    return _first_gradient(model) or "it cannot be found on the ordinary path, where all numbers are finite"


def _first_layer(model: ResNetForImageClassification, pixel_values: Array) -> str | None:
    """Run the forward pass in training mode, and describe the first output that is not finite."""
    found: list[str] = []
    with _watching(model, found), np.errstate(all="ignore"):
        model.train()
        try:
            model(np.asarray(pixel_values, model.dtype))
        finally:
            model.drop_caches()
    return found[0] if found else None


@contextmanager
def _watching(model: Module, found: list[str]) -> Iterator[None]:
    """Look at every output of the layers that have no layers in them."""
    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    for name, module in leaves:
        _watch(module, name, found)
    try:
        yield
    finally:
        for _, module in leaves:
            vars(module).pop("forward", None)  # the class's own method shows again


def _watch(module: Any, name: str, found: list[str]) -> None:
    forward = module.forward

    def looking(x: Array, *arguments: Any, **keywords: Any) -> Array:
        y: Array = forward(x, *arguments, **keywords)
        if not found and not np.isfinite(y).all():
            largest = float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
            weight = getattr(module, "weight", None)
            own = (
                f", its largest weight {float(np.abs(weight.data).max()):.3g}" if isinstance(weight, Parameter) else ""
            )
            found.append(
                f"the first layer with such an output is {name} ({type(module).__name__}): {_count(y)}; the largest "
                f"number that went in is {largest:.3g}{own}"
            )
        return y

    module.forward = looking


def _first_gradient(model: Module) -> str | None:
    """Describe the gradient that is not finite and lies nearest to the output: backward begins there."""
    for name, parameter in reversed(list(model.named_parameters())):
        if parameter.grad is not None and not np.isfinite(parameter.grad).all():
            return (
                f"all outputs are finite, but the gradient of {name} is not: {_count(parameter.grad)}; it is the one "
                "nearest to the output"
            )
    return None


def _count(array: Array) -> str:
    bad = int(array.size - np.isfinite(array).sum())
    return f"{bad:,} of {array.size:,} numbers"
