"""The parts of a ResNet, under the names that Hugging Face Transformers gives them.

Read from top to bottom: a convolution with its normalisation, the two kinds of residual layer, the stem, a stage, and
the encoder that joins the stages. Each ``backward`` is the ``forward`` read from its last line to its first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .config import ResNetConfig, tiered_width
from .kernels import backend
from .nn import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Identity,
    MaxPool2d,
    Module,
    Sequential,
    ZeroPadShortcut,
    chain,
)

Array = NDArray[np.floating]


class ResNetConvLayer(Module):
    """Convolution, batch normalisation, activation (or none, with ``activation=None``)."""

    def __init__(
        self,
        config: ResNetConfig,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        activation: str | None = "relu",
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.convolution = Conv2d(in_channels, out_channels, kernel, stride, dilation=dilation, groups=groups)
        self.normalization = BatchNorm2d(out_channels, config.batch_norm_eps, config.batch_norm_momentum)
        self.activation: Module = Activation(activation) if activation else Identity()

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, O, oh, ow)."""
        return self.activation(self.normalization(self.convolution(x)))

    def backward(self, dy: Array, input_gradient: bool = True) -> Array:
        """(N, O, oh, ow) -> (N, C, H, W)."""
        dy = self.normalization.backward(self.activation.backward(dy))
        return self.convolution.backward(dy, input_gradient)


class ResNetShortCut(Module):
    """Bring the input to the shape of the residual branch: 1x1 convolution and normalisation (option B).

    For a ResNet-D, a 2x2 average pool does the subsampling before the convolution, so that no pixel is thrown away.
    """

    def __init__(
        self, config: ResNetConfig, in_channels: int, out_channels: int, stride: int, dilation: int = 1
    ) -> None:
        super().__init__()
        self.pool: Module = Identity()
        if config.shortcut_type == "avg_down" and (stride != 1 or dilation != 1):
            self.pool, stride = AvgPool2d(stride if dilation == 1 else 1), 1
        self.convolution = Conv2d(in_channels, out_channels, 1, stride)
        self.normalization = BatchNorm2d(out_channels, config.batch_norm_eps, config.batch_norm_momentum)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, O, oh, ow)."""
        return self.normalization(self.convolution(self.pool(x)))

    def backward(self, dy: Array) -> Array:
        """(N, O, oh, ow) -> (N, C, H, W)."""
        return self.pool.backward(self.convolution.backward(self.normalization.backward(dy)))


class ResidualLayer(Module):
    """``activation(F(x) + shortcut(x))``: what both kinds of residual layer have in common.

    In a plain network ``shortcut`` is None, and the layer is ``activation(F(x))``.

    NOTE: ``config.hidden_act`` is the activation of the stem and of the sum. Between the convolutions of F it is
    always ReLU, as in Transformers.
    """

    layer: Sequential
    shortcut: Module | None
    drop_path: Dropout
    activation: Activation

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, O, oh, ow)."""
        residual = self.drop_path(self.layer(x))
        if self.shortcut is None:
            return self.activation(residual)
        return self.activation(backend().add(residual, self.shortcut(x)))

    def backward(self, dy: Array) -> Array:
        """The gradient of a sum goes to both summands, and what comes back from both is added up."""
        dy = self.activation.backward(dy)
        through_layer = self.layer.backward(self.drop_path.backward(dy))
        if self.shortcut is None:
            return through_layer
        through_shortcut = self.shortcut.backward(dy)
        return backend().add(through_layer, through_shortcut)


class ResNetBasicLayer(ResidualLayer):
    """Two 3x3 convolutions (He et al. 2015, figure 5 left).

    Parameters
    ----------
    dilations : (first, second)
        Of the two convolutions: the first of a dilated stage still has the dilation of the stage before.
    """

    def __init__(
        self,
        config: ResNetConfig,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        dilations: tuple[int, int] = (1, 1),
        drop_rate: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        first, second = dilations
        self.shortcut = make_shortcut(config, in_channels, out_channels, stride, second)
        self.layer = Sequential(
            ResNetConvLayer(config, in_channels, out_channels, 3, stride, dilation=first),
            ResNetConvLayer(config, out_channels, out_channels, 3, 1, None, dilation=second),
        )
        self.drop_path = Dropout(drop_rate, rng or np.random.default_rng(), whole_samples=True)
        self.activation = Activation(config.activation)


class ResNetBottleNeckLayer(ResidualLayer):
    """1x1 to a quarter of the channels, 3x3, 1x1 back (He et al. 2015, figure 5 right).

    The stride is on the 3x3 convolution ("v1.5"), or with ``downsample_in_bottleneck`` on the first 1x1 (the paper).
    With groups it is a ResNeXt layer, with a larger ``width_per_group`` a Wide ResNet layer.
    """

    def __init__(
        self,
        config: ResNetConfig,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        dilations: tuple[int, int] = (1, 1),
        drop_rate: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        first, second = dilations
        width = config.bottleneck_width(out_channels)
        stride_1x1, stride_3x3 = (stride, 1) if config.downsample_in_bottleneck else (1, stride)
        self.shortcut = make_shortcut(config, in_channels, out_channels, stride, second)
        self.layer = Sequential(
            ResNetConvLayer(config, in_channels, width, 1, stride_1x1),
            ResNetConvLayer(config, width, width, 3, stride_3x3, dilation=first, groups=config.groups),
            ResNetConvLayer(config, width, out_channels, 1, 1, None),
        )
        self.drop_path = Dropout(drop_rate, rng or np.random.default_rng(), whole_samples=True)
        self.activation = Activation(config.activation)


def make_shortcut(
    config: ResNetConfig, in_channels: int, out_channels: int, stride: int, dilation: int = 1
) -> Module | None:
    """Return the identity where shapes agree, else the kind of shortcut that the configuration asks for.

    None in a plain network.
    """
    if config.shortcut_type == "none":
        return None
    if in_channels == out_channels and stride == 1:
        return Identity()
    if config.shortcut_type == "zero_pad":
        return ZeroPadShortcut(out_channels, stride)
    return ResNetShortCut(config, in_channels, out_channels, stride, dilation)


class ResNetEmbeddings(Module):
    """The stem: from pixels to the first feature map, a quarter of the image's size (for CIFAR, its full size)."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.num_channels = config.num_channels
        act, out, width = config.activation, config.embedding_size, config.stem_width
        if config.stem_type == "basic":
            layers = [ResNetConvLayer(config, config.num_channels, out, 7, 2, act)]
        elif config.stem_type == "cifar":
            layers = [ResNetConvLayer(config, config.num_channels, out, 3, 1, act)]
        else:
            widths = (tiered_width(width), width) if config.stem_type == "deep_tiered" else (width, width)
            layers = [
                ResNetConvLayer(config, config.num_channels, widths[0], 3, 2, act),
                ResNetConvLayer(config, widths[0], widths[1], 3, 1, act),
                ResNetConvLayer(config, widths[1], out, 3, 1, act),
            ]
        self.embedder = chain(layers)
        self.pooler: Module = MaxPool2d(3, 2, padding=1)
        if config.stem_type == "cifar":
            self.pooler = Identity()
        elif config.stem_pool == "caffe":
            self.pooler = MaxPool2d(3, 2, padding=0, ceil_mode=True)

    def features(self, x: Array) -> Array:
        """The feature map before the pool, at half the image's size: timm's reduction 2."""
        if x.ndim == 4 and x.shape[1] != self.num_channels:
            raise ValueError(
                f"pixel_values have {x.shape[1]} channels (shape {x.shape}) but the model was configured for "
                f"num_channels={self.num_channels}; convert the image, or load with num_channels={x.shape[1]}"
            )
        return self.embedder(x)

    def forward(self, x: Array) -> Array:
        """(N, num_channels, H, W) -> (N, embedding_size, H / 4, W / 4)."""
        return self.pooler(self.features(x))

    def backward(self, dy: Array, input_gradient: bool = True) -> Array:
        """(N, embedding_size, H / 4, W / 4) -> (N, num_channels, H, W)."""
        dy = self.pooler.backward(dy)
        layers = self.embedder.layers if isinstance(self.embedder, Sequential) else [self.embedder]
        for layer in reversed(layers[1:]):
            dy = layer.backward(dy)
        first = layers[0]
        assert isinstance(first, ResNetConvLayer)
        return first.backward(dy, input_gradient)


class ResNetStage(Module):
    """Residual layers of one width; the first one changes width and resolution."""

    def __init__(
        self,
        config: ResNetConfig,
        in_channels: int,
        out_channels: int,
        stride: int = 2,
        depth: int = 2,
        dilations: tuple[int, int] = (1, 1),
        drop_rates: Sequence[float] | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        kind = ResNetBottleNeckLayer if config.layer_type == "bottleneck" else ResNetBasicLayer
        rates = drop_rates or [0.0] * depth
        before, dilation = dilations
        layers: list[Module] = [kind(config, in_channels, out_channels, stride, (before, dilation), rates[0], rng)]
        for rate in rates[1:]:
            layers.append(kind(config, out_channels, out_channels, 1, (dilation, dilation), rate, rng))
        self.layers = Sequential(*layers)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, O, H / stride, W / stride)."""
        return self.layers(x)

    def backward(self, dy: Array) -> Array:
        """(N, O, H / stride, W / stride) -> (N, C, H, W)."""
        return self.layers.backward(dy)


class ResNetEncoder(Module):
    """All stages. Where ``output_stride`` is reached, further strides become dilation."""

    def __init__(self, config: ResNetConfig, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        self.stages: list[Module] = []
        rates = np.linspace(0, config.drop_path_rate, sum(config.depths)).tolist()
        channels = config.embedding_size
        for width, depth, geometry in zip(config.hidden_sizes, config.depths, config.stage_geometry, strict=True):
            stride, before, dilation, _ = geometry
            own_rates, rates = rates[:depth], rates[depth:]
            self.stages.append(ResNetStage(config, channels, width, stride, depth, (before, dilation), own_rates, rng))
            channels = width

    def forward(self, x: Array) -> Array:
        """(N, embedding_size, H / 4, W / 4) -> (N, hidden_sizes[-1], H / 32, W / 32)."""
        return self.hidden_states(x)[-1]

    def hidden_states(self, x: Array) -> list[Array]:
        """The input and the output of every stage."""
        states = [x]
        for stage in self.stages:
            states.append(stage(states[-1]))
        return states

    def backward(
        self, dy: Array | None, stage_gradients: Mapping[int, Array] | None = None, needed_from: int = 0
    ) -> Array:
        """Gradient of the last output, and of any other stage's, to the gradient of the input.

        Parameters
        ----------
        dy : array or None
            Gradient of the last stage's output.
        stage_gradients : {number of the hidden state: gradient}
            Further gradients to add on the way: 0 is the encoder's input, 1 the first stage's output.
        needed_from : int
            The number of the lowest hidden state whose gradient is needed; stages below it are not run.
        """
        extra = dict(stage_gradients or {})
        gradient = extra.pop(len(self.stages), None)
        total = dy if gradient is None else gradient if dy is None else dy + gradient
        for number in range(len(self.stages) - 1, needed_from - 1, -1):
            stage = self.stages[number]
            if total is None:
                stage.drop_caches()  # nothing above depends on it
            else:
                total = stage.backward(total)
            gradient = extra.pop(number, None)
            if gradient is not None:
                total = gradient if total is None else total + gradient
        for stage in self.stages[:needed_from]:
            stage.drop_caches()
        return np.empty(0) if total is None else total
