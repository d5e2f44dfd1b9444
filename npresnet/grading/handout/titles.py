"""What tasks are called."""

from __future__ import annotations

from ..texts import Texts

CHAPTERS = {
    "1": "Convolution",
    "2": "Batch normalisation",
    "3": "Activation and pooling",
    "4": "Classifier and loss",
    "5": "Residual blocks",
    "6": "Training",
    "7": "The whole",
}
"""Chapters by the first number of their tasks."""

TITLES = {
    "im2col": "Patches as columns",
    "col2im": "From columns back to images",
    "conv2d_forward": "Convolution, forward",
    "conv2d_backward": "Convolution, backward",
    "batchnorm2d_forward": "Batch normalisation, forward",
    "batchnorm2d_backward": "Batch normalisation, backward",
    "relu_forward": "ReLU, forward",
    "relu_backward": "ReLU, backward",
    "max_pool2d_forward": "Max-pooling, forward",
    "max_pool2d_backward": "Max-pooling, backward",
    "global_avg_pool_forward": "Global average pooling, forward",
    "global_avg_pool_backward": "Global average pooling, backward",
    "linear_forward": "Fully connected layer, forward",
    "linear_backward": "Fully connected layer, backward",
    "softmax_cross_entropy": "Softmax and cross-entropy, with the gradient",
    "basic_block_forward": "Basic block, forward",
    "basic_block_backward": "Basic block, backward",
    "bottleneck_block_forward": "Bottleneck block, forward",
    "bottleneck_block_backward": "Bottleneck block, backward",
    "sgd_momentum_step": "A step of SGD with momentum",
    "train_small_resnet": "Training a small ResNet",
    "whole": "Everything together: a training on your own functions alone",
}
"""Parts by name."""


def points_text(points: float) -> str:
    """Points with at most two decimals, and none that are zero: ``6``, ``2.5``."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


ONE, MANY = "1 point", "{points} points"


def counted(points: float, texts: Texts) -> str:
    """Points with their noun: ``6 points``."""
    number = points_text(points)
    return texts(ONE) if number == "1" else texts(MANY, points=number)
