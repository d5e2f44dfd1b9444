"""A training step by the engine: compiled passes between pixels and pooled features, the classifier as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..engine.graph import Graph
from ..engine.training import TrainingPlan, not_covered
from ..resnet import ResNetForImageClassification

Array = NDArray[np.floating]


class CompiledStep:
    """Forward and backward pass of a classifier in training mode, much faster than layer by layer.

    Parameters
    ----------
    model : ResNetForImageClassification
    num_threads : int, optional
        By default ``NPRESNET_NUM_THREADS``, or the cores.
    winograd : bool
        Allow Winograd's algorithm, which multiplies less and rounds a little more.
    checkpoint_activations : bool
        Keep less of the forward pass and compute it again on the way back: less memory, more time; see
        :class:`~npresnet.engine.training.TrainingPlan`. Results are the same to the last bit.

    Raises
    ------
    ValueError
        If the engine does not cover the model; see :meth:`covers`.

    Notes
    -----
    ``parameter.grad`` is an array that belongs to the step, and that the next step uses again once it was set to None.
    """

    def __init__(
        self,
        model: ResNetForImageClassification,
        num_threads: int | None = None,
        winograd: bool = True,
        checkpoint_activations: bool = False,
    ) -> None:
        reason = self.why_not(model)
        if reason is not None:
            raise ValueError(f"the engine cannot train this model: {reason}")
        self.model = model
        self.plan = TrainingPlan(_graph(model), num_threads, winograd, checkpoint_activations=checkpoint_activations)

    @staticmethod
    def why_not(model: ResNetForImageClassification) -> str | None:
        """Say what of a model the engine cannot train; None if there is nothing."""
        return not_covered(_graph(model))

    def forward(self, pixel_values: Array) -> Array:
        """Return logits (N, K) for pixel values (N, C, H, W), and update the running statistics of BatchNorms."""
        model = self.model.train()
        pooled = self.plan.forward(pixel_values)
        logits: Array = model.classifier(model.dropout(pooled[:, :, None, None]))
        return logits

    def backward(self, dlogits: Array) -> None:
        """Add the gradients of the last forward pass to ``parameter.grad``, given that of the logits (N, K)."""
        model = self.model
        dpooled = model.dropout.backward(model.classifier.backward(np.asarray(dlogits, np.float32)))
        self.plan.backward(dpooled.reshape(len(dpooled), -1))


def _graph(model: ResNetForImageClassification) -> Graph:
    resnet = model.resnet
    return Graph(resnet.embedder, resnet.encoder, resnet.pooler, prefix="resnet.")
