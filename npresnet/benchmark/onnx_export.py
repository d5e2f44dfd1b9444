"""Write a network as an ONNX file, without PyTorch.

The file says what the network is, layer by layer, and leaves everything clever to its reader: BatchNorms are nodes of
their own, which ONNX Runtime folds into the convolutions.
"""

from __future__ import annotations

import os
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.blocks import ResidualLayer, ResNetBasicLayer, ResNetBottleNeckLayer, ResNetConvLayer
from npresnet.nn import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    ZeroPadShortcut,
)
from npresnet.resnet import ResNetForImageClassification

from . import BenchmarkError

INPUT, OUTPUT = "pixel_values", "logits"
OPSET = 17
IR_VERSION = 8  # that of opset 17: an older ONNX Runtime refuses newer ones


def export(model: ResNetForImageClassification, image: tuple[int, int], path: str | os.PathLike[str]) -> None:
    """Write a model in evaluation mode; the batch size stays open.

    Parameters
    ----------
    model : ResNetForImageClassification
    image : (H, W)
    path : path

    Raises
    ------
    BenchmarkError
        If the model has a part that this exporter does not know. All presets are made of known ones.
    """
    from onnx import TensorProto, checker, helper, save_model

    graph = Graph()
    write(model, graph, "", INPUT, OUTPUT)
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", model.config.num_channels, *image])]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", model.config.num_labels])]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "resnet", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="npresnet",
    )
    checker.check_model(proto)
    save_model(proto, os.fspath(path))


class Graph:
    """Nodes and constants so far; they refer to each other by the names of values."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, name: str, inputs: list[str], y: str, **attributes: Any) -> None:
        """Add one operation that computes the value ``y``."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [y], name, **attributes))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant, and return its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


@singledispatch
def write(module: Module, graph: Graph, name: str, x: str, y: str) -> None:
    """Add to the graph what computes the value ``y = module(x)``.

    A module that is not registered below passes its input through its children, one after the other.
    """
    children = [(child, part) for child, part in module.children() if not isinstance(part, (Identity, Dropout))]
    if not children:
        raise BenchmarkError(f"{name} is a {type(module).__name__}, which the ONNX exporter does not know")
    for number, (child, part) in enumerate(children, start=1):
        path = f"{name}.{child}" if name else child
        result = y if number == len(children) else f"{path}.output"
        write(part, graph, path, x, result)
        x = result


@write.register(ResNetBasicLayer)
@write.register(ResNetBottleNeckLayer)
def _residual(module: ResidualLayer, graph: Graph, name: str, x: str, y: str) -> None:
    write(module.layer, graph, f"{name}.layer", x, f"{name}.residual")
    if module.shortcut is None:
        write(module.activation, graph, f"{name}.activation", f"{name}.residual", y)
        return
    shortcut, short = module.shortcut, x
    if isinstance(shortcut, ZeroPadShortcut):
        first = module.layer[0]
        assert isinstance(first, ResNetConvLayer)
        short = f"{name}.short"
        _zero_pad(shortcut, first.convolution.weight.shape[1], graph, f"{name}.shortcut", x, short)
    elif not isinstance(shortcut, Identity):
        short = f"{name}.short"
        write(shortcut, graph, f"{name}.shortcut", x, short)
    graph.node("Add", f"{name}.add", [f"{name}.residual", short], f"{name}.sum")
    write(module.activation, graph, f"{name}.activation", f"{name}.sum", y)


def _zero_pad(module: ZeroPadShortcut, channels: int, graph: Graph, name: str, x: str, y: str) -> None:
    """Every ``stride``-th pixel, and channels of zeros before and behind."""
    extra = module.out_channels - channels
    starts = graph.constant(f"{name}.starts", np.array([0, 0]))
    ends = graph.constant(f"{name}.ends", np.array([np.iinfo(np.int64).max] * 2))
    axes = graph.constant(f"{name}.axes", np.array([2, 3]))
    steps = graph.constant(f"{name}.steps", np.array([module.stride] * 2))
    pads = graph.constant(f"{name}.pads", np.array([0, extra // 2, 0, 0, 0, extra - extra // 2, 0, 0]))
    graph.node("Slice", f"{name}.slice", [x, starts, ends, axes, steps], f"{name}.pixels")
    graph.node("Pad", f"{name}.pad", [f"{name}.pixels", pads], y)


@write.register
def _convolution(module: Conv2d, graph: Graph, name: str, x: str, y: str) -> None:
    inputs = [x, graph.constant(f"{name}.weight", module.weight.data)]
    if module.bias:
        inputs.append(graph.constant(f"{name}.bias", module.bias.data))
    graph.node(
        "Conv", name, inputs, y,
        kernel_shape=[module.kernel] * 2, strides=[module.stride] * 2, pads=[module.padding] * 4,
        dilations=[module.dilation] * 2, group=module.groups,
    )  # fmt: skip


@write.register
def _batch_norm(module: BatchNorm2d, graph: Graph, name: str, x: str, y: str) -> None:
    constants = [
        graph.constant(f"{name}.weight", module.weight.data),
        graph.constant(f"{name}.bias", module.bias.data),
        graph.constant(f"{name}.running_mean", module.running_mean),
        graph.constant(f"{name}.running_var", module.running_var),
    ]
    graph.node("BatchNormalization", name, [x, *constants], y, epsilon=module.eps)


@write.register
def _activation(module: Activation, graph: Graph, name: str, x: str, y: str) -> None:
    if module.name != "relu":
        raise BenchmarkError(f"{name} is {module.name}; the ONNX exporter knows relu only, which all presets have")
    graph.node("Relu", name, [x], y)


@write.register
def _max_pool(module: MaxPool2d, graph: Graph, name: str, x: str, y: str) -> None:
    graph.node(
        "MaxPool", name, [x], y,
        kernel_shape=[module.kernel] * 2, strides=[module.stride] * 2, pads=[module.padding] * 4,
        ceil_mode=int(module.ceil_mode),
    )  # fmt: skip


@write.register
def _average_pool(module: AvgPool2d, graph: Graph, name: str, x: str, y: str) -> None:
    if module.stride == 1:
        raise BenchmarkError(f"{name} pools with stride 1; the ONNX exporter leaves dilated networks out")
    graph.node(
        "AveragePool", name, [x], y, kernel_shape=[2, 2], strides=[module.stride] * 2, ceil_mode=1, count_include_pad=0
    )


@write.register
def _global_pool(module: GlobalPool2d, graph: Graph, name: str, x: str, y: str) -> None:
    if module.kind != "avg":
        raise BenchmarkError(f"{name} is {module.kind}; the ONNX exporter knows avg only, which all presets have")
    graph.node("GlobalAveragePool", name, [x], y)


@write.register
def _flatten(module: Flatten, graph: Graph, name: str, x: str, y: str) -> None:
    graph.node("Flatten", name, [x], y)


@write.register
def _linear(module: Linear, graph: Graph, name: str, x: str, y: str) -> None:
    constants = [graph.constant(f"{name}.{key}", getattr(module, key).data) for key in ("weight", "bias")]
    graph.node("Gemm", name, [x, *constants], y, transB=1)
