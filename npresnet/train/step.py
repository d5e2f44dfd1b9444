"""One training step of a network, between pixels and parameters: the seam at which another implementation fits in."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..kernels import active_backend
from ..nn import Dropout
from ..resnet import ResNetForImageClassification

Array = NDArray[np.floating]


class Step(Protocol):
    """Forward and backward pass in training mode."""

    def forward(self, pixel_values: Array) -> Array:
        """Return logits (N, K) for pixel values (N, C, H, W), and update the running statistics of BatchNorms."""
        ...

    def backward(self, dlogits: Array) -> None:
        """Add the gradients of the last forward pass to ``parameter.grad``, given that of the logits (N, K)."""
        ...


class TrainingStep:
    """The ordinary path: the written forward and backward of every layer.

    Parameters
    ----------
    model : ResNetForImageClassification
    """

    def __init__(self, model: ResNetForImageClassification) -> None:
        self.model = model

    def forward(self, pixel_values: Array) -> Array:
        """Return logits; see :class:`Step`."""
        self.model.train()
        logits: Array = self.model(np.asarray(pixel_values, self.model.dtype), return_dict=True).logits
        return logits

    def backward(self, dlogits: Array) -> None:
        """Compute gradients; see :class:`Step`."""
        self.model.backward(dlogits)


def make_step(model: ResNetForImageClassification, checkpoint_activations: bool = False) -> Step:
    """Return the fastest implementation for a model as it is now: the engine's, where it covers the model.

    Parameters
    ----------
    model : ResNetForImageClassification
    checkpoint_activations : bool
        Less memory for more time, see :class:`.compiled.CompiledStep`; the ordinary path always keeps everything.
    """
    if active_backend() == "numba" and model.dtype == np.float32:
        from .compiled import CompiledStep

        if CompiledStep.why_not(model) is None:
            return CompiledStep(model, checkpoint_activations=checkpoint_activations)
    return TrainingStep(model)


class NumberedGenerator:
    """A random generator for everything in a model that drops values, set anew for every batch.

    Its state is a function of the seed and of the number of the batch, so that none has to be saved.

    Parameters
    ----------
    model : ResNetForImageClassification
        Its generator, and that of all its layers, is replaced.
    seed : int
    """

    def __init__(self, model: ResNetForImageClassification, seed: int) -> None:
        self._seed = seed
        self._generator = np.random.Generator(np.random.PCG64(seed))
        for module in (model, model.resnet):
            module.rng = self._generator
        for _, layer in model.named_modules():
            if isinstance(layer, Dropout):
                layer.rng = self._generator

    def set(self, batch: int) -> None:
        """Begin the numbers of a batch, counted over all epochs."""
        self._generator.bit_generator.state = np.random.PCG64((self._seed, _DROPPING, batch)).state


def mixing_generator(seed: int, batch: int) -> np.random.Generator:
    """Return the generator that mixes the images of a batch, counted over all epochs."""
    return np.random.default_rng((seed, _MIXING, batch))


_DROPPING, _MIXING = 1, 2  # so that the two do not draw the same numbers
