"""The paper's networks for CIFAR in PyTorch, which Transformers does not have; arrays are named as in Transformers.

He et al. 2015, section 4.2, with option A: a shortcut leaves out pixels, and new channels are zero.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from npresnet.config import ResNetConfig


class ConvLayer(nn.Module):
    """A convolution 3x3 and a BatchNorm, perhaps a ReLU."""

    def __init__(self, channels: int, out: int, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.normalization = nn.BatchNorm2d(out)
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: torch.Tensor) -> Any:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        return self.activation(self.normalization(self.convolution(x)))


class BasicLayer(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(ConvLayer(channels, out, stride), ConvLayer(out, out, relu=False))
        self.stride, self.new = stride, out - channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        y = self.layer(x)
        if self.stride > 1 or self.new:
            before = self.new // 2
            x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new - before))
        return torch.relu(y + x)


def build(config: ResNetConfig) -> nn.Sequential:
    """Stem, stages, pool and classifier: (N, C, H, W) to logits (N, labels)."""
    stages: list[nn.Module] = []
    channels = config.embedding_size
    for number, (width, depth) in enumerate(zip(config.hidden_sizes, config.depths, strict=True)):
        first = 2 if number or config.downsample_in_first_stage else 1
        layers = [BasicLayer(width if index else channels, width, 1 if index else first) for index in range(depth)]
        stages.append(named(layers=nn.Sequential(*layers)))
        channels = width
    resnet = named(
        embedder=named(embedder=ConvLayer(config.num_channels, config.embedding_size)),
        encoder=named(stages=nn.Sequential(*stages)),
        pooler=nn.AdaptiveAvgPool2d(1),
    )
    return named(resnet=resnet, classifier=nn.Sequential(nn.Flatten(), nn.Linear(channels, config.num_labels)))


def named(**parts: nn.Module) -> nn.Sequential:
    """One after the other, with names instead of numbers."""
    return nn.Sequential(OrderedDict(parts))
