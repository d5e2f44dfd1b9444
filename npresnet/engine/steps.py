"""The steps of a program: for every node of the graph one row of the table, or three for Winograd's algorithm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn import AvgPool2d
from . import record
from .graph import BOUNDS, Classifier, Convolution, GlobalPool, Graph, Node, Ordinary, Pool
from .layout import BLOCK, Map, blocks_of
from .machine import Machine
from .planning import Blueprint
from .products import Tiles, products_of
from .store import Packed, WeightStore
from .tiling import starts, tile_shape
from .winograd import KINDS

TERMS = {"float32": 256, "bfloat16": 1024, "int8": 1024}  # of a sum, before it is put aside
WINOGRAD_TERMS = {4: 64, 2: 128}  # fewer, because its larger numbers cancel in the end


@dataclass
class Step:
    """A step of the program, for people."""

    name: str
    how: str
    macs: int
    milliseconds: float = 0.0


class StepWriter:
    """Writes the rows.

    Parameters
    ----------
    graph, blueprint, store, machine
    wanted : set of int
        Maps to return.
    threads : int

    Attributes
    ----------
    rows : list of row
    steps : list of Step
        The same for people.
    breaks : list of (row, node)
        Ordinary modules, and the number of the row before which each runs.
    inputs : list of (row, bytes)
        The rows that read pixels, and how far from the first image.
    outputs : {number: (N, C, H, W) float32}
        Where wanted maps are written.
    scratch_bytes : int
        That a thread needs.
    """

    def __init__(
        self, graph: Graph, blueprint: Blueprint, store: WeightStore, machine: Machine, wanted: frozenset[int],
        threads: int,
    ) -> None:  # fmt: skip
        self._blueprint, self._store, self._machine, self._threads = blueprint, store, machine, threads
        self._maps, self._precision, self._target = blueprint.maps, store.precision, machine.target
        self.rows: list[NDArray[np.int64]] = []
        self.steps: list[Step] = []
        self.breaks: list[tuple[int, Ordinary]] = []
        self.outputs: dict[int, NDArray[np.float32]] = {}
        self.scratch_bytes = 64
        self.inputs: list[tuple[int, int]] = []
        self._tables: list[NDArray[Any]] = []  # kept alive: the rows hold their addresses
        in_rows = wanted - {graph.pooled, graph.logits}  # the rest can be read as it is
        for section in blueprint.sections:
            for self._first, self._images in section.groups:
                if section is blueprint.sections[0]:
                    self._input()
                for node in section.nodes:
                    self._write(node)
                    if node.output in in_rows:
                        self._output(node.output, blueprint.shape[0])

    def _map(self, number: int) -> Map:
        """The images of a map that are in work."""
        m = self._maps[number]
        if number in self._blueprint.rows_of_images:
            return m
        return m.part(self._first if m.images == self._blueprint.shape[0] else 0, self._images)

    def _write(self, node: Node) -> None:
        if isinstance(node, Ordinary):
            self.breaks.append((len(self.rows), node))
        elif isinstance(node, Pool):
            self._pool(node)
        elif isinstance(node, GlobalPool):
            self._global_pool(node)
        elif isinstance(node, Classifier):
            self._direct(node, "blocked")
        elif isinstance(node, Convolution):
            kind = self._blueprint.kinds[node.output]
            if kind in KINDS:
                self._winograd(node, kind)
            else:
                self._direct(node, kind)

    def _add(
        self, name: str, how: str, tasks: int, function: str, *options: Any, macs: float = 0, **fields: float
    ) -> None:
        task = self._machine.function(function, *options)
        self.rows.append(record.make(task=task, tasks=tasks, **fields))
        self.steps.append(Step(name, how, int(macs)))

    def _keep(self, values: Any) -> int:
        """Keep integers alive and return their address."""
        array = np.ascontiguousarray(values, np.int64)
        self._tables.append(array)
        return array.ctypes.data

    # ------------------------------------------------------------------------------------------------ input and output

    def _input(self) -> None:
        image, quantized = self._blueprint.image.part(0, self._images), self._store.maps.get(0)
        plane = image.height * image.width * 4
        self.inputs.append((len(self.rows), self._first * image.channels * plane))
        self._add(
            "pixels", "interleave channels", image.images * image.height, "interleave", self._precision,
            input_plane=plane, input_row=image.width * 4, input_image=image.channels * plane,
            output=image.origin, output_row=image.row, output_image=image.image, output_plane=image.pixel,
            channels=image.channels, height=image.height, width=image.width,
            scale=1 / quantized.scale if quantized else 1.0, zero=float(image.zero),
        )  # fmt: skip

    def _output(self, number: int, batch: int) -> None:
        m, quantized = self._map(number), self._store.maps.get(number)
        if number not in self.outputs:
            self.outputs[number] = np.zeros((batch, m.channels, m.height, m.width), np.float32)
        array = self.outputs[number]
        self._add(
            f"output {number}", "deinterleave channels", m.images * blocks_of(m.channels),
            "deinterleave", self._precision, **maps_read(m),
            output=array[self._first :].ctypes.data, output_image=array[0].nbytes, output_plane=array[0, 0].nbytes,
            channels=m.channels, scale=quantized.scale if quantized else 1.0, zero=float(m.zero),
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------------------- pools

    def _pool(self, node: Pool) -> None:
        source, output, module = self._map(node.input), self._map(node.output), node.layer
        if isinstance(module, AvgPool2d):
            kind, window, padding = "mean", 2, 0
        else:
            kind, window, padding = "max", module.kernel, module.padding
        self._add(
            node.name, f"{kind} pool {window}x{window}", output.images * blocks_of(output.channels) * output.height,
            "pool", self._precision, kind, window, **maps_read(source), **maps_written(output),
            out_height=output.height, out_width=output.width, stride=module.stride, padding=padding,
            counts_padding=int(kind == "mean" and module.stride == 1),
            zero=float(source.zero if kind == "max" or module.stride == 1 else 0),
        )  # fmt: skip

    def _global_pool(self, node: GlobalPool) -> None:
        source, output, kind = self._map(node.input), self._map(node.output), node.layer.kind
        fields: dict[str, float] = {}
        if self._store.maps:  # from the scale of the map to that of the pooled numbers
            before, after = self._store.maps[node.input], self._store.maps[node.output]
            scale = before.scale / after.scale
            fields = {"scale": scale, "zero": after.zero - before.zero * scale}
        for half, own in enumerate(("avg", "max") if kind == "catavgmax" else (kind,)):
            self._add(
                node.name, f"global {own} pool", source.images * blocks_of(source.channels),
                "global_pool", self._precision, own, **maps_read(source),
                output=output.origin + half * blocks_of(source.channels) * output.plane,
                output_plane=output.plane, output_image=output.pixel, **fields,
            )  # fmt: skip

    # --------------------------------------------------------------------------------------------------- convolutions

    def _direct(self, node: Convolution | Classifier, kind: str) -> None:
        packed = self._store.get(node, kind)
        folded, output = packed.folded, self._map(node.output)
        source = self._map(node.input) if kind != "interleaved" else self._blueprint.image.part(0, self._images)
        residual = self._residual(node)
        k, stride = folded.kernel, folded.stride

        flat, width, rows, vectors = self._blueprint.tiling(node, output.images)
        lines = [(0, 0)] if flat else [(i, y) for i in range(output.images) for y in range(output.height)]
        columns = np.array(starts(width, rows), np.int64)

        def places(m: Map, step: int) -> NDArray[np.int64]:
            line = np.array([i * m.image + y * step * m.row for i, y in lines], np.int64)
            return (line[:, None] + columns * step * m.pixel).reshape(-1)

        if kind == "interleaved":  # an entry is a whole row of the kernel
            depth, table = -(-k * source.pixel // 4), [r * source.row for r in range(k)]
        else:
            depth, d = source.pixel // 4, folded.dilation
            kernel = [d * (r * source.row + c * source.pixel) for r in range(k) for c in range(k)]
            table = [block * source.plane + place for block in range(folded.reach) for place in kernel]
        blocks = range(0, blocks_of(folded.out_channels), vectors)
        groups = [block // folded.span * folded.reach * source.plane for block in blocks]
        corner = source.origin - folded.padding * (source.row + source.pixel)
        fields = self._finishing(node) | {"input": corner, "output": output.origin, "output_plane": output.plane}
        if residual is not None:
            fields |= {"residual": residual.origin, "residual_plane": residual.plane}
        self._products(
            node, f"direct {k}x{k}", packed,
            Tiles(
                rows, vectors, places(source, stride), places(output, 1),
                np.zeros(len(lines) * len(columns), np.int64) if residual is None else places(residual, 1),
                groups, table, depth, stride * source.pixel,
            ),
            TERMS[self._precision], 1, fields,
        )  # fmt: skip

    def _winograd(self, node: Convolution, kind: str) -> None:
        packed, products = self._store.get(node, kind), self._blueprint.products[node.output]
        folded, source, output = packed.folded, self._map(node.input), self._map(node.output)
        name, (tile, stride) = kind.capitalize(), products.form
        per_task = max(1, -(-products.rows // 4))
        bands = -(-products.rows // per_task)
        grid = {"tile_rows": products.rows, "tile_columns": products.columns, "rows_per_task": per_task}
        self._add(
            node.name, f"{name}: inputs", source.images * blocks_of(source.channels) * bands,
            "winograd_input", self._precision, tile, stride, **maps_read(source),
            output=products.inputs, output_batch=products.input_batch, **grid,
        )  # fmt: skip

        out_blocks, tiles = blocks_of(folded.out_channels), output.images * products.rows * products.columns
        rows, vectors = tile_shape(self._target, tiles, out_blocks, far=True)
        places = np.array(starts(tiles, rows), np.int64) * (BLOCK * 4)
        table = [block * tiles * BLOCK * 4 for block in range(blocks_of(folded.channels))]
        nothing = np.zeros(max(len(places), out_blocks * BLOCK), np.int64)
        self._products(
            node, f"{name}: products", packed._replace(bias=self._keep(nothing)),
            Tiles(
                rows, vectors, places, places, nothing, [0] * (out_blocks // vectors), table, BLOCK, BLOCK * 4,
            ),
            WINOGRAD_TERMS[tile], products.form.products,
            {
                "input": products.inputs, "input_batch": products.input_batch, "output": products.outputs,
                "output_batch": products.output_batch, "output_plane": tiles * BLOCK * 4,
                "low": -math.inf, "high": math.inf,
            },
        )  # fmt: skip

        residual, fields = self._residual(node), self._finishing(node)
        if residual is not None:
            fields |= maps_added(residual)
        self._add(
            node.name, f"{name}: outputs", output.images * out_blocks * bands,
            "winograd_output", self._precision, tile, stride, residual is not None,
            input=products.outputs, input_batch=products.output_batch, **maps_written(output), bias=packed.bias,
            images=output.images, height=output.height, width=output.width, **grid, **fields,
        )  # fmt: skip

    def _residual(self, node: Node) -> Map | None:
        number = getattr(node, "residual", None)
        return None if number is None else self._map(number)

    def _finishing(self, node: Node) -> dict[str, float]:
        """Bounds of the activation, and the scale of the residual, in the number format of the output."""
        low, high = BOUNDS[getattr(node, "activation", "identity")]
        quantized = self._store.maps.get(node.output)
        if quantized is None or isinstance(node, Classifier):
            return {"low": low, "high": high}
        values = {
            "low": max(0.0, low / quantized.scale + quantized.zero),
            "high": min(255.0, high / quantized.scale + quantized.zero),
        }
        if isinstance(node, Convolution) and node.residual is not None:
            values["residual_scale"] = self._store.maps[node.residual].scale / quantized.scale
        return values

    def _products(
        self, node: Convolution | Classifier, how: str, packed: Packed, tiles: Tiles, terms: int, batch: int,
        fields: dict[str, float],
    ) -> None:  # fmt: skip
        """A step of tiles times weights: a direct convolution, or Winograd's products."""
        is_last = isinstance(node, Classifier)
        bounded = math.isfinite(fields["high"]) and (self._precision != "int8" or fields["high"] < 255)
        shared = packed.folded.kernel**2 if batch == 1 else 1
        precision = "float32" if batch > 1 else self._precision  # Winograd's sums need all digits
        product = products_of(
            self._machine, precision, tiles, terms, batch, shared, self._threads, self._keep, is_last, bounded
        )
        self.scratch_bytes = max(self.scratch_bytes, product.scratch_bytes)
        output = self._map(node.output)
        self._add(
            node.name, f"{how}, tiles {tiles.rows}x{tiles.vectors}", product.tasks, "convolve",
            macs=output.images * output.height * output.width * packed.folded.weight.size,
            weights=packed.weights, weight_plane=packed.plane, weight_products=self._keep(packed.products),
            bias=packed.bias, bias_plane=packed.bias_plane, **product.fields, **fields,
        )  # fmt: skip


def maps_read(m: Map) -> dict[str, float]:
    """The fields that say where a map is read."""
    return {
        "input": m.origin, "input_row": m.row, "input_plane": m.plane, "input_image": m.image,
        "images": m.images, "height": m.height, "width": m.width,
    }  # fmt: skip


def maps_written(m: Map) -> dict[str, float]:
    """The fields that say where a map is written."""
    return {"output": m.origin, "output_row": m.row, "output_plane": m.plane, "output_image": m.image}


def maps_added(m: Map) -> dict[str, float]:
    """The fields that say where a residual is read."""
    return {"residual": m.origin, "residual_row": m.row, "residual_plane": m.plane, "residual_image": m.image}
