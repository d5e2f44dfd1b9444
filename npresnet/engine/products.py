"""Tiles of pixels times weights: what a row of the program needs for a convolution or for Winograd's products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .layout import ELEMENT_BYTES
from .machine import Machine
from .record import KernelShape
from .tiling import split


@dataclass
class Tiles:
    """What a step of products is made of: tiles of pixels, groups of outputs, and the table of the sum.

    Attributes
    ----------
    rows, vectors : int
        Pixels and blocks of outputs of a tile.
    inputs, outputs, residuals : sequence of int
        Distance of each tile from the first pixel, in bytes.
    groups : sequence of int
        For each group of outputs, the distance of its first input channel.
    table : sequence of int
        For each entry of the sum, the distance of its input.
    depth : int
        Steps of an entry.
    step : int
        Bytes between the inputs of neighbouring pixels of a tile.
    """

    rows: int
    vectors: int
    inputs: Sequence[int] | NDArray[np.int64]
    outputs: Sequence[int] | NDArray[np.int64]
    residuals: Sequence[int] | NDArray[np.int64]
    groups: Sequence[int]
    table: Sequence[int]
    depth: int
    step: int
    spread: int = 1
    """Pixels from an output of a tile to the next: 2 where every other pixel is written."""


class Product(NamedTuple):
    """The fields of a row that tell about tiles, how many tasks there are, and the scratch memory of a thread."""

    fields: dict[str, float]
    tasks: int
    scratch_bytes: int


def products_of(
    machine: Machine, precision: str, tiles: Tiles, terms: int, batch: int, shared: int, threads: int,
    keep: Callable[[Any], int], plain: bool = False, bounded: bool = False,
) -> Product:  # fmt: skip
    """Cut a product into tasks.

    Parameters
    ----------
    terms : int
        Of a sum, before it is put aside.
    batch : int
        How many products of this kind there are.
    shared : int
        How many tiles read the same input.
    keep : function
        Keeps integers alive and returns their address.
    plain, bounded : bool
        See :class:`.KernelShape`.
    """
    rows, vectors, depth, entries = tiles.rows, tiles.vectors, tiles.depth, len(tiles.table)
    shape = KernelShape(precision, rows, vectors, tiles.step, depth, plain, bounded, tiles.spread)
    chunk = max(1, terms // (depth * 4 // ELEMENT_BYTES[precision]))
    steps, calls = depth * entries, -(-entries // chunk)
    count, groups = len(tiles.inputs), len(tiles.groups)
    task = split(
        count, groups, batch, steps * rows * vectors + 60.0 * calls, steps * 4.0 * rows / shared,
        steps * 64.0 * vectors, threads,
    )  # fmt: skip
    fields: dict[str, float] = {
        "kernel": machine.kernel(shape), "weight_entry": depth * 64,
        "input_tiles": keep(tiles.inputs), "output_tiles": keep(tiles.outputs), "residual_tiles": keep(tiles.residuals),
        "tiles": count, "tiles_per_task": task.tiles, "tile_sums": rows * vectors * 64,
        "groups": groups, "groups_per_task": task.groups, "group_blocks": vectors, "group_inputs": keep(tiles.groups),
        "table": keep(tiles.table), "entries": entries, "chunk": chunk,
    }  # fmt: skip
    tasks = batch * -(-count // task.tiles) * -(-groups // task.groups)
    return Product(fields, tasks, task.tiles * rows * vectors * 64 if calls > 1 else 0)
