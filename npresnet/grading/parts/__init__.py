"""The parts of the coursework, one file a topic, in the order of the tasks.

A part is data: what is drawn, what is called, what is right, and which kinds of case count how much. The criteria go
from the plainest case to everything together, so that the first that fails says most. An output that is a dict of
arrays counts by its members, all alike.
"""

from __future__ import annotations

from ..part import Part
from .activation import RELU_BACKWARD, RELU_FORWARD
from .blocks import (
    BASIC_BLOCK_BACKWARD,
    BASIC_BLOCK_FORWARD,
    BOTTLENECK_BLOCK_BACKWARD,
    BOTTLENECK_BLOCK_FORWARD,
)
from .classifier import LINEAR_BACKWARD, LINEAR_FORWARD, SOFTMAX_CROSS_ENTROPY
from .convolution import COL2IM, CONV2D_BACKWARD, CONV2D_FORWARD, IM2COL
from .normalization import BATCHNORM2D_BACKWARD, BATCHNORM2D_FORWARD
from .pooling import (
    GLOBAL_AVG_POOL_BACKWARD,
    GLOBAL_AVG_POOL_FORWARD,
    MAX_POOL2D_BACKWARD,
    MAX_POOL2D_FORWARD,
)
from .training import SGD_MOMENTUM_STEP, TRAIN_SMALL_RESNET, WHOLE

__all__ = ["PARTS"]

PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        IM2COL,
        COL2IM,
        CONV2D_FORWARD,
        CONV2D_BACKWARD,
        BATCHNORM2D_FORWARD,
        BATCHNORM2D_BACKWARD,
        RELU_FORWARD,
        RELU_BACKWARD,
        MAX_POOL2D_FORWARD,
        MAX_POOL2D_BACKWARD,
        GLOBAL_AVG_POOL_FORWARD,
        GLOBAL_AVG_POOL_BACKWARD,
        LINEAR_FORWARD,
        LINEAR_BACKWARD,
        SOFTMAX_CROSS_ENTROPY,
        BASIC_BLOCK_FORWARD,
        BASIC_BLOCK_BACKWARD,
        BOTTLENECK_BLOCK_FORWARD,
        BOTTLENECK_BLOCK_BACKWARD,
        SGD_MOMENTUM_STEP,
        TRAIN_SMALL_RESNET,
        WHOLE,
    )
}
"""All parts by name; 100 points together."""
