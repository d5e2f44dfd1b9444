"""A program: the table of steps for one shape of input, and the memory that it works in."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, Ordinary
from .layout import BLOCK, Map, blocks_of
from .machine import Machine
from .planning import Blueprint
from .steps import StepWriter
from .store import WeightStore
from .table import Table
from .weights import to_bfloat16

_cores = threading.RLock()


def exclusively() -> threading.RLock:
    """Return the lock of the engine: a program uses all cores, so whoever makes or runs one waits for the others."""
    return _cores


def _new_lock() -> None:
    global _cores
    _cores = threading.RLock()


if hasattr(os, "register_at_fork"):  # a forked child must not wait for a thread that it does not have
    os.register_at_fork(after_in_child=_new_lock)


class Program:
    """A compiled network for one shape of input.

    Parameters
    ----------
    graph : Graph
    machine : Machine
    store : WeightStore
        The packed weights, shared with other programs.
    shape : (N, C, H, W)
    wanted : set of int
        Maps to return.
    winograd : bool
        Allow Winograd's algorithm.
    threads : int

    Attributes
    ----------
    steps : list of Step
        For people: which layer runs how.
    ordinary : list of str
        Names of the modules that run as they are.
    memory_bytes : int
        Of all maps.
    """

    def __init__(
        self, graph: Graph, machine: Machine, store: WeightStore, shape: tuple[int, int, int, int],
        wanted: frozenset[int], winograd: bool, threads: int,
    ) -> None:  # fmt: skip
        self.shape, self._wanted, self._quantized = shape, wanted, store.maps
        machine.function("run")  # the first code to ask for: if it is in no cache, nothing is
        blueprint = Blueprint(graph, store, shape, winograd, machine.target)
        self._maps, self._memory = blueprint.maps, blueprint.memory
        self._writer = StepWriter(graph, blueprint, store, machine, wanted, threads)
        store.finish()
        self.steps, self._breaks = self._writer.steps, self._writer.breaks
        self.ordinary = [node.name for _, node in self._breaks]
        self.memory_bytes = len(self._memory)
        self._table = Table(self._writer.rows, machine, threads, self._writer.scratch_bytes)

    def run(self, x: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
        """Run the network.

        Parameters
        ----------
        x : (N, C, H, W) float32, contiguous
            Of the program's shape.

        Returns
        -------
        {number: array}
            The wanted maps, (N, C, H, W) float32; pooled features and logits as (N, C).
        """
        with exclusively():
            self._point_to(x)
            start = 0
            for end, node in self._breaks:
                self._table.run(start, end)
                self._run_ordinary(node)
                start = end
            self._table.run(start, len(self._table))
            return {number: self._result(number) for number in self._wanted}

    def profile(self, x: NDArray[np.float32], repeats: int = 5) -> None:
        """Run step by step, and note the median time of each in :attr:`steps`."""
        with exclusively():
            self._point_to(x)

            def run_ordinary(before: int) -> None:
                for number, node in self._breaks:
                    if number == before:
                        self._run_ordinary(node)

            for step, seconds in zip(self.steps, self._table.measure(repeats, run_ordinary), strict=True):
                step.milliseconds = 1e3 * seconds

    def _point_to(self, x: NDArray[np.float32]) -> None:
        for row, distance in self._writer.inputs:
            self._table.set(row, "input", x.ctypes.data + distance)

    # -------------------------------------------------------------------------------------- maps as arrays of NumPy

    def _view(self, m: Map) -> NDArray[Any]:
        """A map without its border, as it is stored: (C / 16, N, H, W, 16)."""
        offset = m.base - self._memory.ctypes.data
        dtype = {4: np.float32, 2: np.uint16, 1: np.uint8}[m.element]
        whole = self._memory[offset : offset + m.bytes].view(dtype)
        shape = (blocks_of(m.channels), m.images, m.image // m.row, m.row // m.pixel, BLOCK)
        b = m.border
        return whole.reshape(shape)[:, :, b : b + m.height, b : b + m.width]

    def _numbers(self, number: int) -> NDArray[np.float32]:
        """A map as (N, C, H, W) float32."""
        m = self._maps[number]
        view = self._view(m).transpose(1, 0, 4, 2, 3).reshape(m.images, -1, m.height, m.width)[:, : m.channels]
        if m.element == 2:
            return (view.astype(np.uint32) << 16).view(np.float32)
        if m.element == 1:
            scale, zero = self._quantized[number]
            return (view.astype(np.float32) - np.float32(zero)) * np.float32(scale)
        return np.ascontiguousarray(view)

    def _run_ordinary(self, node: Ordinary) -> None:
        y, m = node.layer(self._numbers(node.input)), self._maps[node.output]
        filled = np.zeros((m.images, blocks_of(m.channels) * BLOCK, m.height, m.width), np.float32)
        filled[:, : m.channels] = y
        blocked = filled.reshape(m.images, -1, BLOCK, m.height, m.width).transpose(1, 0, 3, 4, 2)
        if m.element == 2:
            self._view(m)[...] = to_bfloat16(blocked)
        elif m.element == 1:
            scale, zero = self._quantized[node.output]
            self._view(m)[...] = np.clip(np.rint(blocked / np.float32(scale)) + zero, 0, 255)
        else:
            self._view(m)[...] = blocked

    def _result(self, number: int) -> NDArray[np.float32]:
        if number in self._writer.outputs:
            return self._writer.outputs[number].copy()
        return self._numbers(number)[0, :, 0].T.copy()  # pooled or logits, from (1, C, 1, N)
