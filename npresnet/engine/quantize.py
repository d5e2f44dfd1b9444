"""How the maps of an 8-bit program stand for real numbers: ``value = (number - zero) * scale``.

The range of each map is measured on examples. Maps behind a ReLU start at zero; others are signed, and their zero lies
somewhere between 0 and 255. A few of the largest numbers are cut off, because the rest is then represented more finely.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .graph import BOUNDS, Classifier, Convolution, Graph, Node, Pool
from .machine import Machine
from .program import Program
from .store import Quantized, WeightStore

LEVELS = 255
CUT = 1e-4  # of the numbers of a map, at each end
AT_ONCE = 8  # images
SAMPLE = 1 << 18  # numbers of a map that are looked at, for each group of images


def calibrate(graph: Graph, machine: Machine, images: NDArray[np.float32], threads: int) -> dict[int, Quantized]:
    """Measure the maps on examples, and return how each is quantised.

    Parameters
    ----------
    graph, machine
    images : (N, C, H, W) float32
        Pixel values like those to come.
    threads : int
    """
    store = WeightStore("float32", graph.channels)
    numbers = [0, *(node.output for node in graph.nodes if not isinstance(node, Classifier))]
    lows, highs = dict.fromkeys(numbers, np.inf), dict.fromkeys(numbers, -np.inf)
    for start in range(0, len(images), AT_ONCE):
        part = np.ascontiguousarray(images[start : start + AT_ONCE], np.float32)
        program = Program(graph, machine, store, part.shape, frozenset(numbers[1:]), True, threads)
        maps = {0: part, **program.run(part)}
        for number in numbers:
            values = maps[number].reshape(-1)
            values = values[:: max(1, len(values) // SAMPLE)]
            low, high = np.quantile(values, (CUT, 1 - CUT)) if number else (values.min(), values.max())
            lows[number], highs[number] = min(lows[number], float(low)), max(highs[number], float(high))
    quantized = {0: between(lows[0], highs[0])}
    for node in graph.nodes:
        if isinstance(node, Pool):  # picks or averages numbers of its input
            quantized[node.output] = quantized[node.input]
        elif not isinstance(node, Classifier):
            quantized[node.output] = between(_floor(node, lows[node.output]), highs[node.output])
    return quantized


def _floor(node: Node, low: float) -> float:
    """The smallest number that a node can write."""
    return 0.0 if isinstance(node, Convolution) and BOUNDS[node.activation][0] == 0 else low


def between(low: float, high: float) -> Quantized:
    """Return the quantisation of a range; zero is always represented exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        return Quantized(1.0, 0)
    scale = (high - low) / LEVELS
    return Quantized(float(scale), round(-low / scale))
