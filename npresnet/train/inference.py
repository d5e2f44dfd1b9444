"""The logits of a model in evaluation mode, batch by batch: what validation and evaluation are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import active_backend
from ..resnet import ResNetForImageClassification

Array = NDArray[np.floating]


def make_inference(model: ResNetForImageClassification) -> Callable[[Array], Array]:
    """Return a function from pixel values (N, C, H, W) float32 to logits (N, K), whatever mode the model is in.

    It runs on the engine where that computes what the model does, and notices weights that change.
    """
    if active_backend() == "numba" and model.dtype == np.float32:
        plan = model.compile()
        return lambda pixel_values: _logits(plan(pixel_values, return_dict=True))

    def ordinarily(pixel_values: Array) -> Array:
        values = np.asarray(pixel_values, model.dtype)
        return _logits(model._ordinarily(values, return_dict=True))

    return ordinarily


def _logits(output: Any) -> Array:
    logits: Array = output.logits
    return logits
