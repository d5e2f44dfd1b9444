"""What there is to compute, taken from the modules of a model: convolutions with all that can be done on the way.

BatchNorm in evaluation mode is a multiplication and an addition for each channel, and goes into the weights and the
bias. ReLU, and the sum with the shortcut, happen when a convolution writes its result. So a bottleneck layer becomes
three or four convolutions and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..blocks import ResidualLayer, ResNetConvLayer, ResNetEmbeddings, ResNetEncoder, ResNetShortCut
from ..nn import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    Sequential,
    ZeroPadShortcut,
)
from ..shapes import output_shape
from .layout import BLOCK

FAR = 1 << 12  # pixels: enough for every network
BOUNDS = {"identity": (float("-inf"), float("inf")), "relu": (0.0, float("inf")), "relu6": (0.0, 6.0)}
"""Activations that only cut off: the smallest and the largest value that passes."""


@dataclass
class Node:
    """One thing to compute.

    Attributes
    ----------
    name : str
        Of the module, as in ``named_modules``.
    input, output : int
        Numbers of feature maps; 0 is the image.
    layer : Module
        Tells the shape of the output.
    """

    name: str
    input: int
    output: int
    layer: Module

    @property
    def reads(self) -> list[int]:
        """Numbers of the maps that it needs."""
        return [self.input]


@dataclass
class Convolution(Node):
    """``activation(normalization(convolution(input)) + residual)``; the activation is one of :data:`BOUNDS`."""

    layer: Conv2d | ZeroPadShortcut
    normalization: BatchNorm2d | None
    residual: int | None
    activation: str
    drop_path: Dropout | None = None  # of a residual layer's last convolution: in training, before the sum

    @property
    def reads(self) -> list[int]:
        return [self.input] if self.residual is None else [self.input, self.residual]


@dataclass
class Pool(Node):
    """A pool with a window."""

    layer: MaxPool2d | AvgPool2d


@dataclass
class Ordinary(Node):
    """A module that runs as it is, between two parts of the program: an activation that is more than a bound."""

    layer: Module


@dataclass
class GlobalPool(Node):
    """The pool before the classifier; its output is (N, C)."""

    layer: GlobalPool2d


@dataclass
class Classifier(Node):
    """The last layer, (N, C) -> (N, labels)."""

    layer: Linear


class Graph:
    """All nodes of a model in the order of computation.

    Parameters
    ----------
    embedder, encoder
        Stem and stages.
    pooler, classifier : optional
        What follows them, if there is.
    prefix : str
        Of the names of stem and stages.

    Attributes
    ----------
    nodes : list of Node
    states : list of int
        The maps that are hidden states: output of the stem, and of every stage.
    stem : int
        The stem's map before its pool.
    pooled, logits : int or None
    """

    def __init__(
        self,
        embedder: ResNetEmbeddings,
        encoder: ResNetEncoder,
        pooler: GlobalPool2d | None = None,
        classifier: Module | None = None,
        prefix: str = "",
    ) -> None:
        self.nodes: list[Node] = []
        self._maps = 1
        layers = embedder.embedder.layers if isinstance(embedder.embedder, Sequential) else [embedder.embedder]
        x = 0
        for number, layer in enumerate(layers):
            assert isinstance(layer, ResNetConvLayer)
            place = f".{number}" if len(layers) > 1 else ""
            x = self._conv_layer(f"{prefix}embedder.embedder{place}", layer, x)
        self.stem = x
        if isinstance(embedder.pooler, MaxPool2d):
            x = self._add(Pool(f"{prefix}embedder.pooler", x, self._new(), embedder.pooler))
        self.states = [x]
        for s, stage in enumerate(encoder.stages):
            for b, block in enumerate(stage.layers.layers):  # type: ignore[attr-defined]
                x = self._residual_layer(f"{prefix}encoder.stages.{s}.layers.{b}", block, x)
            self.states.append(x)
        self.pooled = self.logits = None
        if pooler is not None:
            self.pooled = self._add(GlobalPool(f"{prefix}pooler", x, self._new(), pooler))
            if isinstance(classifier, Linear):
                self.logits = self._add(Classifier("classifier.1", self.pooled, self._new(), classifier))

    @property
    def end(self) -> int:
        """The last map."""
        return self.nodes[-1].output

    @property
    def convolutions(self) -> list[Convolution]:
        """The nodes with convolution weights."""
        return [node for node in self.nodes if isinstance(node, Convolution)]

    @property
    def is_covered(self) -> bool:
        """Whether the engine can compute it.

        Only a head that puts means and maxima side by side is left out where the maxima would begin within a block.
        """
        pools = [node for node in self.nodes if isinstance(node, GlobalPool)]
        return all(node.layer.kind != "catavgmax" or self.channels[node.input] % BLOCK == 0 for node in pools)

    @property
    def channels(self) -> dict[int, int]:
        """Channels of every map."""
        first = self.convolutions[0].layer
        assert isinstance(first, Conv2d)
        shapes: dict[int, tuple[int, ...]] = {0: (first.weight.shape[1], FAR, FAR)}
        for node in self.nodes:
            before = shapes[node.input][:1] if isinstance(node, Classifier) else shapes[node.input]
            shapes[node.output] = output_shape(node.layer, before)
        return {number: shape[0] for number, shape in shapes.items()}

    def _new(self) -> int:
        self._maps += 1
        return self._maps - 1

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return node.output

    def _conv_layer(self, name: str, layer: ResNetConvLayer, x: int, residual: int | None = None) -> int:
        return self._convolution(name, layer.convolution, layer.normalization, layer.activation, x, residual)

    def _convolution(
        self,
        name: str,
        convolution: Conv2d | ZeroPadShortcut,
        normalization: BatchNorm2d | None,
        activation: Module,
        x: int,
        residual: int | None = None,
        drop_path: Dropout | None = None,
    ) -> int:
        act = activation.name if isinstance(activation, Activation) else "identity"
        fused = act if act in BOUNDS else "identity"
        x = self._add(Convolution(name, x, self._new(), convolution, normalization, residual, fused, drop_path))
        if act not in BOUNDS:
            x = self._add(Ordinary(f"{name}.activation", x, self._new(), activation))
        return x

    def _residual_layer(self, name: str, block: ResidualLayer, x: int) -> int:
        shortcut = block.shortcut
        residual: int | None = x
        y = short = x
        if shortcut is None:
            residual = None
        elif isinstance(shortcut, ResNetShortCut):
            if isinstance(shortcut.pool, AvgPool2d):
                short = self._add(Pool(f"{name}.shortcut.pool", short, self._new(), shortcut.pool))
            residual = self._convolution(
                f"{name}.shortcut", shortcut.convolution, shortcut.normalization, Identity(), short
            )
        elif isinstance(shortcut, ZeroPadShortcut):
            residual = self._convolution(f"{name}.shortcut", shortcut, None, Identity(), short)
        *first, last = block.layer.layers
        for number, layer in enumerate(first):
            assert isinstance(layer, ResNetConvLayer)
            y = self._conv_layer(f"{name}.layer.{number}", layer, y)
        assert isinstance(last, ResNetConvLayer)
        return self._convolution(
            f"{name}.layer.{len(first)}", last.convolution, last.normalization, block.activation, y, residual,
            block.drop_path,
        )  # fmt: skip
