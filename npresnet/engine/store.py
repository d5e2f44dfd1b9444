"""The packed weights of a model: made once, when a program first needs them, and shared by all its programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.mapped import release
from ..kernels.parallel import for_each
from . import weights
from .graph import Classifier, Convolution
from .layout import BLOCK, blocks_of, zeroed
from .weights import Folded
from .winograd import KINDS, Form, transform_weights

CHUNK = 32 << 20  # bytes
PART = 64  # input channels whose kernels are transformed at once
SPREAD = 5 * 64  # bytes between products, so that many streams do not meet in the same lines of the cache


class Packed(NamedTuple):
    """Where packed weights and biases lie, and how far apart, in bytes."""

    folded: Folded
    weights: int
    plane: int  # between blocks of outputs
    products: list[int]  # from the first weights to those of each of Winograd's products
    bias: int
    bias_plane: int


class Quantized(NamedTuple):
    """An 8-bit map: ``value = (number - zero) * scale``."""

    scale: float
    zero: int


class WeightStore:
    """Packs weights on request.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "int8"}
    channels : mapping
        Channels of every map of the graph.
    maps : mapping, for int8
        How every map of the graph is quantised.
    """

    def __init__(
        self, precision: str, channels: Mapping[int, int], maps: Mapping[int, Quantized] | None = None
    ) -> None:
        self.precision, self.channels, self.maps = precision, channels, maps or {}
        self._chunks: list[NDArray[np.uint8]] = []
        self._used = CHUNK
        self._folded: dict[int, Folded] = {}
        self._packed: dict[tuple[int, str], Packed] = {}
        self._jobs: dict[int, list[Callable[[], None]]] = {}  # for the output of each node

    def folded(self, node: Convolution | Classifier) -> Folded:
        """Return weights and bias of a node with its normalisation."""
        if node.output not in self._folded:
            if isinstance(node, Classifier):
                self._folded[node.output] = weights.linear(node)
            else:
                self._folded[node.output] = weights.fold(node, self.channels[node.input])
        return self._folded[node.output]

    def get(self, node: Convolution | Classifier, kind: str) -> Packed:
        """Return the packed weights of a node; they are there after :meth:`finish`.

        Parameters
        ----------
        kind : {"blocked", "interleaved"}, or one of Winograd's ``KINDS``
            What the input looks like, or the form of Winograd's algorithm.
        """
        key = (node.output, kind)
        if key not in self._packed:
            self._packed[key] = self._winograd(node, KINDS[kind]) if kind in KINDS else self._direct(node, kind)
        return self._packed[key]

    def finish(self) -> None:
        """Pack what was asked for since the last call, on all threads.

        Weights that lie in a file are read once, and then leave the memory again.
        """
        while self._jobs:
            output, jobs = self._jobs.popitem()
            for_each(lambda index, jobs=jobs: jobs[index](), len(jobs))  # type: ignore[misc]
            release(self._folded[output].weight)

    @property
    def bytes(self) -> int:
        """Memory in use."""
        return sum(len(chunk) for chunk in self._chunks) - (len(self._chunks[-1]) - self._used if self._chunks else 0)

    def _take(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if not self._chunks or self._used + size > len(self._chunks[-1]):
            self._chunks.append(zeroed(max(CHUNK, size)))
            self._used = 0
        array = self._chunks[-1][self._used : self._used + size].view(dtype).reshape(shape)
        self._used += -(-size // 64) * 64 + 64
        return array

    def _direct(self, node: Convolution | Classifier, kind: str) -> Packed:
        folded = self.folded(node)
        dtype = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}[self.precision]
        interleaved = kind == "interleaved"
        shape = weights.packed_shape(folded, self.precision, interleaved)
        packed = self._take(shape, dtype)
        steps: Any = None
        if self.precision == "int8":
            steps = weights.pad_channels(weights.weight_steps(folded), 1.0)
        jobs = self._jobs.setdefault(node.output, [])
        for number in range(shape[0]):
            own = None if steps is None else steps[number * BLOCK : (number + 1) * BLOCK]
            jobs.append(partial(weights.pack_block, folded, number, self.precision, interleaved, packed[number], own))
        if self.precision == "int8":
            numbers = self._take((shape[0], 2, BLOCK), np.float32)
            jobs.append(partial(self._requantization, node, folded, steps, numbers))
        else:
            numbers = self._take((shape[0], BLOCK), np.float32)
            numbers.reshape(-1)[:] = weights.pad_channels(folded.bias)
        return Packed(folded, packed.ctypes.data, packed[0].nbytes, [0], numbers.ctypes.data, numbers[0].nbytes)

    def _winograd(self, node: Convolution | Classifier, form: Form) -> Packed:
        folded, count = self.folded(node), len(set(form.kernels))
        blocks, inputs = blocks_of(folded.out_channels), folded.reach * BLOCK
        plane = inputs * BLOCK * 4
        batch = blocks * plane + SPREAD
        flat = self._take((count, batch // 4), np.float32)
        products = flat[:, : blocks * inputs * BLOCK].reshape(count, blocks, inputs, BLOCK)

        def pack(number: int) -> None:
            kernels = folded.block(number, np.float64)
            for first in range(0, inputs, PART):
                part = slice(first, min(first + PART, inputs))
                transformed = transform_weights(kernels[:, part], form)  # (count, 16, PART)
                products[:, number, part] = transformed.transpose(0, 2, 1)

        self._jobs.setdefault(node.output, []).extend(partial(pack, number) for number in range(blocks))
        numbers = self._take((blocks, BLOCK), np.float32)
        numbers.reshape(-1)[:] = weights.pad_channels(folded.bias)
        distances = [number * batch for number in form.kernels]
        return Packed(folded, flat.ctypes.data, inputs * BLOCK * 4, distances, numbers.ctypes.data, BLOCK * 4)

    def _requantization(
        self, node: Convolution | Classifier, folded: Folded, steps: NDArray[np.float32], out: NDArray[np.float32]
    ) -> None:
        """Bias and scale that turn the integer sums of a node into the 8-bit numbers of its output.

        With ``x = (q - z) s`` for the input and ``w = v t`` for the weights, the sum of the products is
        ``s t (sum(q v) - z sum(v))``.
        """
        source = self.maps[node.input]
        is_last = isinstance(node, Classifier)
        target = Quantized(1.0, 0) if is_last else self.maps[node.output]
        sums = np.zeros(len(steps))
        for number in range(len(steps) // BLOCK):
            lanes = slice(number * BLOCK, (number + 1) * BLOCK)
            whole = np.rint(folded.block(number) / steps[lanes, None, None, None])
            sums[lanes] = whole.sum(axis=(1, 2, 3), dtype=np.float64)
        scale = source.scale * steps.astype(np.float64) / target.scale
        bias = np.zeros(len(steps))
        bias[: folded.out_channels] = folded.bias / target.scale
        bias += target.zero - scale * source.zero * sums
        if isinstance(node, Convolution) and node.residual is not None:
            other = self.maps[node.residual]
            bias -= other.zero * other.scale / target.scale
        out[:, 0] = bias.reshape(-1, BLOCK)
        out[:, 1] = scale.reshape(-1, BLOCK)
