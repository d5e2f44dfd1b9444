"""From pixels to pooled features, compiled for training; and from there back into ``parameter.grad``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.parallel import num_threads as default_threads
from ...nn import BatchNorm2d, Conv2d, MaxPool2d, Parameter
from ..graph import GlobalPool, Graph, Ordinary, Pool
from ..layout import BLOCK, Map, blocks_of
from ..machine import Machine, machine_for
from ..program import exclusively
from ..table import Table
from ..target import Target, find_target
from .places import Places
from .writer import TrainingWriter

Array = NDArray[np.float32]


def not_covered(graph: Graph) -> str | None:
    """Say why a network cannot be trained by compiled steps; None if it can."""
    for node in graph.nodes:
        layer: Any = node.layer
        if isinstance(node, Ordinary):
            return f"{node.name}: only ReLU-like activations"
        if isinstance(node, Pool) and not isinstance(layer, MaxPool2d):
            return f"{node.name}: no average pool with a window"
        if isinstance(node, GlobalPool) and layer.kind != "avg":
            return f"{node.name}: only the global average pool"
        if isinstance(layer, Conv2d) and (layer.groups != 1 or layer.bias is not None):
            return f"{node.name}: no convolution with groups or a bias"
        for module in (layer, getattr(node, "normalization", None)):
            if module is not None and any(p.dtype != np.float32 for p in module.parameters()):
                return f"{node.name}: only float32"
    return None


class TrainingPlan:
    """Compiled forward and backward passes of all that lies between the pixels and the pooled features.

    Parameters
    ----------
    graph : Graph
        With a pool at its end, and covered; see :func:`not_covered`.
    num_threads : int, optional
    winograd : bool
        Allow Winograd's algorithm for convolutions and for gradients of their inputs.
    target : Target, optional
    checkpoint_activations : bool
        Keep only the outputs of the stem and of every other residual layer, and compute what lies between again on
        the way back: a quarter of the memory for a third more time (Chen et al. 2016, arXiv:1604.06174).

    Notes
    -----
    The memory of a batch's maps, and the gradients, are used again for the next batch: copy a gradient that you want
    to keep. Results do not depend on the number of threads.
    """

    def __init__(
        self,
        graph: Graph,
        num_threads: int | None = None,
        winograd: bool = True,
        target: Target | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        self._graph, self._winograd, self._checkpoints = graph, winograd, checkpoint_activations
        self._threads = default_threads() if num_threads is None else num_threads
        if self._threads < 1:
            raise ValueError(f"num_threads must be at least 1, found {num_threads}")
        self._machine = machine_for(target or find_target())
        self._program: _Program | None = None
        self._state: Any = None
        self._buffers: dict[int, Array] = {}
        self._waits = False

    @property
    def _settings(self) -> Any:
        """What a program depends on beside the shape of the batch."""
        modules = [m for node in self._graph.nodes for m in (node.layer, getattr(node, "normalization", None)) if m]
        parameters = [(p.requires_grad, p.shape) for module in modules for p in module.parameters()]
        norms = [(m.frozen, m.eps, m.momentum) for m in modules if isinstance(m, BatchNorm2d)]
        drops = [getattr(node, "drop_path", None) for node in self._graph.nodes]
        rates = [drop.rate > 0 for drop in drops if drop]
        return parameters, norms, rates

    def forward(self, x: NDArray[Any]) -> Array:
        """Return the pooled features (N, C) of a batch (N, C, H, W), and update the running statistics.

        Raises
        ------
        TypeError
            If pixels are not floating point numbers, or parameters not float32.
        ValueError
            If the shape does not fit, the image is too small, or a BatchNorm would see a single value per channel.
        """
        if not np.issubdtype(np.asarray(x).dtype, np.floating):
            raise TypeError(f"pixel_values must be floating point numbers, found {np.asarray(x).dtype}")
        x = np.ascontiguousarray(x, np.float32)
        first: Any = self._graph.nodes[0].layer
        if x.ndim != 4 or x.shape[1] != first.weight.shape[1] or not len(x):
            wanted = f"(N, {first.weight.shape[1]}, H, W) with at least one image"
            raise ValueError(f"pixel_values must be {wanted}, found shape {x.shape}")
        with exclusively():
            self._waits = False  # until it has succeeded
            state = (x.shape, self._settings)
            if self._program is None or state != self._state:
                self._program = None  # first let go of the memory
                options = (self._winograd, self._threads, self._checkpoints)
                self._program = _Program(self._graph, self._machine, x.shape, *options)
                self._state = state
            pooled = self._program.forward(x)
            self._waits = True
            return pooled

    def backward(self, dpooled: NDArray[Any]) -> None:
        """Add the gradients of the last forward pass to ``parameter.grad``.

        Raises
        ------
        RuntimeError
            If there was no forward pass since the last backward.
        ValueError
            If ``dpooled`` does not have the shape of the pooled features.
        """
        with exclusively():
            if self._program is None or not self._waits:
                raise RuntimeError("backward needs a forward pass before it, and only one backward follows each")
            expected = self._program.pooled_shape
            if np.shape(dpooled) != expected:
                raise ValueError(
                    f"the gradient must have the shape of the features, {expected}, found {np.shape(dpooled)}"
                )
            self._waits = False
            self._program.backward(np.ascontiguousarray(dpooled, np.float32), self._buffers)

    @property
    def memory_bytes(self) -> int:
        """Memory of the maps and of what is computed in between."""
        return self._program.memory_bytes if self._program else 0

    def profile(self, repeats: int = 3) -> list[Any]:
        """Return the steps of the last batch with their times; the parameters' gradients are spoilt by it."""
        assert self._program is not None
        return self._program.profile(repeats)


class _Program:
    """The steps for one shape of batch."""

    def __init__(
        self, graph: Graph, machine: Machine, shape: Any, winograd: bool, threads: int, checkpoints: bool
    ) -> None:
        machine.function("run")  # the first code to ask for: if it is in no cache, nothing is
        rehearsal = Places()
        TrainingWriter(graph, machine, shape, winograd, threads, rehearsal, checkpoints)
        self._places = places = Places(rehearsal)
        self._writer = writer = TrainingWriter(graph, machine, shape, winograd, threads, places, checkpoints)
        self._table = Table(writer.rows, machine, threads, writer.scratch_bytes)
        self.memory_bytes = len(places.memory)
        self.pooled_shape = (shape[0], writer.pooled.channels)
        self._norms = [norm for _, norm in writer.pointers.running]
        self._head = np.zeros((blocks_of(writer.pooled.channels), shape[0], BLOCK), np.float32)
        self._kept: list[Any] = []

    def forward(self, x: Array) -> Array:
        pointers, table = self._writer.pointers, self._table
        table.set(pointers.image, "input", x.ctypes.data)
        for row, field, parameter, start in pointers.data:
            data = parameter.data
            if data.dtype != np.float32:
                raise TypeError(f"compiled steps train float32 parameters, found {data.dtype}; use model.astype")
            if not data.flags.c_contiguous:
                parameter.data = data = np.ascontiguousarray(data)
            table.set(row, field, data.ctypes.data + start)
        for row, norm in pointers.running:
            for field in ("running_mean", "running_var"):
                array = np.ascontiguousarray(getattr(norm, field), np.float32)
                if not array.flags.writeable:
                    array = array.copy()
                setattr(norm, field, array)
                table.set(row, field, array.ctypes.data)
        for kept, drop_path in pointers.kept:
            kept[:] = (drop_path.rng.random(len(kept)) >= drop_path.rate) / (1 - drop_path.rate)
        table.run(0, self._writer.forward_steps)
        for norm in self._norms:
            if not norm.frozen:
                norm.num_batches_tracked = np.asarray(norm.num_batches_tracked + 1)
        return self._pooled(self._writer.pooled)

    def _pooled(self, m: Map) -> Array:
        offset = m.base - self._places.memory.ctypes.data
        blocks = self._places.memory[offset : offset + m.bytes].view(np.float32).reshape(-1, m.width, BLOCK)
        return blocks.transpose(1, 0, 2).reshape(m.width, -1)[:, : m.channels].copy()

    def backward(self, dpooled: Array, buffers: dict[int, Array]) -> None:
        pointers, table = self._writer.pointers, self._table
        n, channels = dpooled.shape
        padded = np.zeros((n, len(self._head) * BLOCK), np.float32)
        padded[:, :channels] = dpooled
        self._head[...] = padded.reshape(n, -1, BLOCK).transpose(1, 0, 2)
        if self._writer.forward_steps == len(table):
            return  # nothing learns
        table.set(pointers.head, "gradient", self._head.ctypes.data)
        for _, _, parameter in pointers.gradients:
            if parameter.grad is not None and parameter.grad.shape != parameter.shape:
                raise ValueError(
                    f"a gradient must have the shape of its parameter, {parameter.shape}, found {parameter.grad.shape}"
                )
        for row, field, parameter in pointers.gradients:
            flag = "accumulate_beta" if field == "beta_gradient" else "accumulate"
            table.set(row, flag, int(parameter.grad is not None))
            table.set(row, field, _gradient_of(parameter, buffers).ctypes.data)
        table.run(self._writer.forward_steps, len(table))

    def profile(self, repeats: int) -> list[Any]:
        for step, seconds in zip(self._writer.steps, self._table.measure(repeats), strict=True):
            step.milliseconds = 1e3 * seconds
        return self._writer.steps


def _gradient_of(parameter: Parameter, buffers: dict[int, Array]) -> Array:
    """The array that a parameter's gradient is written or added to."""
    if parameter.grad is None:
        buffer = buffers.get(id(parameter))
        if buffer is None or buffer.shape != parameter.shape:
            buffer = buffers[id(parameter)] = np.empty(parameter.shape, np.float32)
        parameter.grad = buffer
        return buffer
    parameter.grad = np.require(parameter.grad, np.float32, ["C", "W"])
    return parameter.grad
