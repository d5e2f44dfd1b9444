"""How each engine takes a step. Only the engine that is asked for is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from npresnet.resnet import ResNetForImageClassification
from npresnet.train.step import Step

from ..contestants import Contestant
from .contestants import CHECKPOINTING

if TYPE_CHECKING:
    from .material import TrainingMaterial

Array = NDArray[np.floating]

LEARNING_RATE = 0.01
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4  # of every parameter, as in the paper and in torch.optim


class Learner(Protocol):
    """A network in training mode with its optimiser, one batch of pictures and their labels."""

    def step(self) -> float:
        """Take a whole step and return the loss before it; gradients are None first, and are there afterwards."""
        ...

    def gradients(self) -> Iterator[Array]:
        """Those of the last step."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Weights and statistics by their names in Transformers, without a copy."""
        ...


def load_learner(contestant: Contestant, material: TrainingMaterial, batch: int, threads: int) -> Learner:
    """Load a contestant's weights, and the first pictures.

    Raises
    ------
    ValueError
        If npresnet does not compile training steps of such a network.
    """
    return LOADERS[contestant.engine](contestant, material, batch, threads)


class NpresnetLearner:
    """npresnet, with any implementation of forward and backward pass.

    Parameters
    ----------
    model : ResNetForImageClassification
    step : Step
        Of this model.
    images : (N, C, H, W)
    labels : (N,) integers
    """

    def __init__(
        self, model: ResNetForImageClassification, step: Step, images: Array, labels: NDArray[np.int64]
    ) -> None:
        from npresnet import ops
        from npresnet.train import SGD, parameter_groups

        self._model, self._step, self._images, self._labels = model, step, images, labels
        groups = parameter_groups(model, WEIGHT_DECAY, decay_norms_and_biases=True)
        self._optimizer = SGD(groups, MOMENTUM)
        self._loss, self._loss_backward = ops.cross_entropy, ops.cross_entropy_backward

    def step(self) -> float:
        """See :class:`Learner`."""
        self._optimizer.zero_grad()
        logits = self._step.forward(self._images)
        loss, cache = self._loss(logits, self._labels)
        self._step.backward(self._loss_backward(cache))
        self._optimizer.step(LEARNING_RATE)
        return loss

    def gradients(self) -> Iterator[Array]:
        """See :class:`Learner`."""
        return (parameter.grad for parameter in self._model.parameters() if parameter.grad is not None)

    def state(self) -> dict[str, NDArray[Any]]:
        """See :class:`Learner`."""
        weights = {name: parameter.data for name, parameter in self._model.named_parameters()}
        return {**weights, **dict(self._model.named_buffers())}


class TorchLearner:
    """PyTorch, called as its documentation says.

    Parameters
    ----------
    model : torch.nn.Module
        With names as in Transformers.
    call : function
        Takes pictures and returns logits (N, K).
    images, labels : torch.Tensor
    """

    def __init__(self, model: Any, call: Callable[[Any], Any], images: Any, labels: Any) -> None:
        import torch

        self._model, self._call, self._images, self._labels = model.train(), call, images, labels
        self._loss = torch.nn.functional.cross_entropy
        self._optimizer = torch.optim.SGD(
            model.parameters(), LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def step(self) -> float:
        """See :class:`Learner`."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self._call(self._images), self._labels)
        loss.backward()
        self._optimizer.step()
        return float(loss.item())

    def gradients(self) -> Iterator[Array]:
        """See :class:`Learner`."""
        return (parameter.grad.numpy() for parameter in self._model.parameters())

    def state(self) -> dict[str, NDArray[Any]]:
        """See :class:`Learner`."""
        return {name: tensor.numpy() for name, tensor in self._model.state_dict().items()}


def _npresnet(contestant: Contestant, material: TrainingMaterial, batch: int, threads: int) -> Learner:
    import npresnet
    from npresnet.train.compiled import CompiledStep

    model = npresnet.load(material.weights)
    step = CompiledStep(model, threads, checkpoint_activations=contestant == CHECKPOINTING)
    return NpresnetLearner(model, step, material.first_images(batch), material.first_labels(batch))


def _torch(contestant: Contestant, material: TrainingMaterial, batch: int, threads: int) -> Learner:
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if contestant.way == "channels-last" else torch.contiguous_format
    if material.transformers.exists():
        import transformers

        model = transformers.ResNetForImageClassification.from_pretrained(material.transformers, local_files_only=True)
        model = model.to(memory_format=layout)
        call: Callable[[Any], Any] = lambda pixel_values: model(pixel_values).logits  # noqa: E731
    else:
        import npresnet

        from .torch_cifar import build

        ours = npresnet.load(material.weights)
        call = model = build(ours.config).to(memory_format=layout)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in ours.state_dict().items()})
    images = torch.from_numpy(material.first_images(batch)).contiguous(memory_format=layout)
    return TorchLearner(model, call, images, torch.from_numpy(material.first_labels(batch)))


LOADERS: dict[str, Callable[[Contestant, TrainingMaterial, int, int], Learner]] = {
    "npresnet": _npresnet,
    "torch": _torch,
}
