"""Rows for convolutions in any direction: weights packed on the spot, directly or by Winograd's algorithm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...nn import Parameter
from .. import record
from ..layout import BLOCK, Map, blocks_of
from ..machine import Machine
from ..planning import Image, divide, fastest_kind
from ..products import Tiles, products_of
from ..steps import TERMS, WINOGRAD_TERMS, Step, maps_added, maps_read, maps_written
from ..store import SPREAD
from ..tiling import starts, tile_shape
from ..winograd import KINDS
from .contents import Contents, Pointers
from .normalization import SUMS_BYTES
from .places import Places

PARTS = 16  # tasks that a step should have, so that threads end together
WORKSPACE = 2 << 20  # bytes of Winograd's products that stay in the cache
MOST_WEIGHTS = 9 << 20  # bytes of transformed weights at a time, where memory is saved


class Convolver:
    """Collects the rows of a program.

    Parameters
    ----------
    machine : Machine
    images : int
    winograd : bool
    threads : int
    places : Places
    saves_memory : bool
        Even where it takes a little more time.

    Attributes
    ----------
    rows : list of row
    steps : list of Step
        The same for people.
    pointers : Pointers
    scratch_bytes : int
        That a thread needs.
    """

    def __init__(
        self, machine: Machine, images: int, winograd: bool, threads: int, places: Places, saves_memory: bool
    ) -> None:
        self._machine, self._images, self._winograd, self._threads = machine, images, winograd, threads
        self._target, self._places, self._saves_memory = machine.target, places, saves_memory
        self.rows: list[NDArray[np.int64]] = []
        self.steps: list[Step] = []
        self.pointers = Pointers()
        self.scratch_bytes = 4096
        self._kept: list[Any] = []
        self._zeros = self._keep(np.zeros(16))
        self._live: set[int] = set()  # ids of the maps that have a place and their contents

    def _place(self, m: Map) -> None:
        """Give a map memory, unless it has some."""
        if id(m) not in self._live:
            shares = self._saves_memory and not isinstance(m, Image)  # which stays where it is for the whole step
            self._places.place(m, keeps_border=not shares)
            self._live.add(id(m))
            self._kept.append(m)  # so that no other map gets the same id
            if shares and not m.bare:
                self._add(
                    "", "clear the border", m.images * blocks_of(m.channels), "clear_border", **maps_written(m),
                    images=m.images, height=m.height, width=m.width, padding=m.origin - m.base,
                )  # fmt: skip

    def _take_over(self, old: Map, new: Map) -> bool:
        """Let a map be written over another that is needed no more; only where they lie in memory alike."""
        if id(old) not in self._live or (old.bytes, old.geometry) != (new.bytes, new.geometry):
            return False
        new.base = old.base
        self._live.remove(id(old))
        self._live.add(id(new))
        self._kept.append(new)
        return True

    def _release(self, m: Map) -> None:
        """Let go of a map's memory, if it still has some."""
        if id(m) in self._live:
            self._places.give_back(m.base)
            self._live.remove(id(m))

    def _keep(self, values: Any) -> int:
        """Keep integers alive and return their address."""
        array = np.ascontiguousarray(values, np.int64)
        self._kept.append(array)
        return array.ctypes.data

    def _add(
        self, name: str, how: str, tasks: int, function: str, *options: Any, macs: float = 0, **fields: float
    ) -> int:
        task = self._machine.function(function, *options)
        self.rows.append(record.make(task=task, tasks=tasks, **fields))
        self.steps.append(Step(name, how, int(macs)))
        return len(self.rows) - 1

    def _winograd_groups(
        self, c: Contents, output: Map, channels: int, out_channels: int, stride: int
    ) -> tuple[str, list[tuple[int, int]]] | None:
        """Which form of Winograd's algorithm, and how many images at a time; None if it is not worth it."""
        whole = channels % BLOCK == 0 and out_channels % BLOCK == 0
        if not self._winograd or not whole or (c.kernel, c.padding, c.dilation) != (3, 1, 1) or c.node.input == 0:
            return None
        inputs, outputs = channels // BLOCK, out_channels // BLOCK
        kind = fastest_kind(inputs, outputs, stride, self._images, output.height, output.width)
        if kind not in KINDS:
            return None
        form = KINDS[kind]
        tiles = -(-output.height // form.tile) * -(-output.width // form.tile)
        of_image = tiles * form.products * (inputs + outputs) * BLOCK * 4
        of_weights = len(set(form.kernels)) * inputs * outputs * BLOCK * BLOCK * 4
        return kind, divide(self._images, max(1, max(WORKSPACE, of_weights) // of_image))

    def _pack(self, c: Contents, table: list[int], lanes: int, stride: int) -> int:
        """Write the step that packs weights for a direct convolution, and return where they will be."""
        terms, blocks = len(table), blocks_of(lanes)
        place = self._places.workspace("weights", blocks * terms * 64)
        per_task = -(-terms // max(1, PARTS // blocks))
        row = self._add(
            c.node.name, "pack weights", blocks * -(-terms // per_task), "pack_weights", output=place,
            entries=terms, channels=lanes, lane_stride=stride, table=self._keep(table), channels_per_task=per_task,
        )  # fmt: skip
        self._read_weights(row, c)
        return place

    def _read_weights(self, row: int, c: Contents, start: int = 0) -> None:
        if isinstance(c.weight, Parameter):
            self.pointers.data.append((row, "input", c.weight, start))
        else:
            self.rows[row][record.index("input")] = c.weight.ctypes.data + start

    def _direct(
        self, c: Contents, how: str, packed: int, depth: int, entries: list[int], source: Map, output: Map,
        residual: Map | None, corner: int, stride: int, spread: int, size: tuple[int, int], phase: tuple[int, int],
        out_channels: int,
    ) -> None:  # fmt: skip
        """Tiles times weights. Where a residual is added in place, no pixel may be computed twice."""
        height, width = size
        bare = source.bare and output.bare and (stride, spread, len(entries)) == (1, 1, blocks_of(source.channels))
        lines = [(i, y) for i in range(output.images) for y in range(height)]
        if bare:
            lines, width = [(0, 0)], output.images * height * width
        blocks = blocks_of(out_channels)
        rows, vectors = tile_shape(self._target, width, blocks)
        columns = [starts(width, rows)]
        shapes = [rows]
        if residual is not None and width % rows:
            columns, shapes = [columns[0][:-1], [width // rows * rows]], [rows, width % rows]
        for rows, own in zip(shapes, columns, strict=True):
            at = np.array(own, np.int64)

            def places(m: Map, step: int, origin: int, at: NDArray[np.int64] = at) -> NDArray[np.int64]:
                line = np.array([i * m.image + y * step * m.row for i, y in lines], np.int64)
                return (line[:, None] + at * step * m.pixel).reshape(-1) + origin

            start = phase[0] * output.row + phase[1] * output.pixel
            outputs = places(output, spread, start)
            tiles = Tiles(
                rows, vectors, places(source, stride, 0), outputs, outputs, [0] * (blocks // vectors), entries, depth,
                stride * source.pixel, spread,
            )  # fmt: skip
            terms, taps = depth * len(entries), max(1, len(entries) // blocks_of(source.channels))
            product = products_of(
                self._machine, "float32", tiles, TERMS["float32"], 1, taps, self._threads, self._keep
            )  # fmt: skip
            self.scratch_bytes = max(self.scratch_bytes, product.scratch_bytes)
            fields: dict[str, float] = {}
            if residual is not None:
                fields = {"residual": residual.origin, "residual_plane": residual.plane}
            self._add(
                c.node.name, f"{how}, tiles {rows}x{vectors}", product.tasks, "convolve",
                macs=len(outputs) * rows * blocks * BLOCK * terms,
                weights=packed, weight_plane=terms * 64, weight_products=self._keep([0]), bias=self._zeros,
                input=corner, output=output.origin, output_plane=output.plane, low=-math.inf, high=math.inf,
                **product.fields, **fields,
            )  # fmt: skip

    def _by_winograd(
        self, c: Contents, kind: str, groups: list[tuple[int, int]], source: Map, output: Map, channels: int,
        out_channels: int, stride: int, residual: Map | None, turned: bool,
    ) -> None:  # fmt: skip
        form, inputs, blocks = KINDS[kind], channels // BLOCK, out_channels // BLOCK
        rows, columns = -(-output.height // form.tile), -(-output.width // form.tile)
        name = kind.capitalize()
        shares = self._shares(len(set(form.kernels)) * channels * BLOCK * 4, blocks)
        packed: tuple[int, int] | None = None
        for first, images in groups:
            tiles = images * rows * columns
            input_batch, output_batch = (n * tiles * BLOCK * 4 + SPREAD for n in (inputs, shares[-1][1]))
            size = form.products * (input_batch + output_batch)
            transformed = self._places.workspace("products", size)
            products = transformed + form.products * input_batch
            own, result = source.part(first, images), output.part(first, images)
            tiles_per_task = max(1, -(-rows // max(1, 2 * PARTS // (images * inputs))))
            grid = {"tile_rows": rows, "tile_columns": columns, "rows_per_task": tiles_per_task}
            bands = -(-rows // tiles_per_task)
            self._add(
                c.node.name, f"{name}: inputs", images * inputs * bands,
                "winograd_input", "float32", form.tile, form.stride, **maps_read(own),
                output=transformed, output_batch=input_batch, **grid,
            )  # fmt: skip
            table = [block * tiles * BLOCK * 4 for block in range(inputs)]
            for first_block, count in shares:
                if packed is None or len(shares) > 1:
                    packed = self._pack_winograd(c, kind, channels, first_block, count, turned)
                weights, batch = packed
                tile_rows, vectors = tile_shape(self._target, tiles, count, far=True)
                at = np.array(starts(tiles, tile_rows), np.int64) * (BLOCK * 4)
                nothing = np.zeros(len(at), np.int64)
                product = products_of(
                    self._machine, "float32",
                    Tiles(tile_rows, vectors, at, at, nothing, [0] * (count // vectors), table, BLOCK, BLOCK * 4),
                    WINOGRAD_TERMS[form.tile], form.products, 1, self._threads, self._keep,
                )  # fmt: skip
                self.scratch_bytes = max(self.scratch_bytes, product.scratch_bytes)
                self._add(
                    c.node.name, f"{name}: products, tiles {tile_rows}x{vectors}", product.tasks, "convolve",
                    macs=images * output.height * output.width * 9 * channels * count * BLOCK,
                    weights=weights, weight_plane=channels * BLOCK * 4,
                    weight_products=self._keep([n * batch for n in form.kernels]),
                    bias=self._zeros, input=transformed, input_batch=input_batch, output=products,
                    output_batch=output_batch, output_plane=tiles * BLOCK * 4, low=-math.inf, high=math.inf,
                    **product.fields,
                )  # fmt: skip
                written = maps_written(result)
                written["output"] += first_block * result.plane
                if residual is not None:
                    added = maps_added(residual.part(first, images))
                    written |= added | {"residual": added["residual"] + first_block * added["residual_plane"]}
                self._add(
                    c.node.name, f"{name}: outputs", images * count * bands,
                    "winograd_output", "float32", form.tile, form.stride, residual is not None,
                    input=products, input_batch=output_batch, **written, bias=self._keep(np.zeros(count * 8)),
                    images=images, height=output.height, width=output.width, low=-math.inf, high=math.inf, **grid,
                )  # fmt: skip

    def _shares(self, bytes_of_block: int, blocks: int) -> list[tuple[int, int]]:
        """Blocks of outputs whose weights are transformed at a time: (first, how many), the largest last."""
        at_once = max(1, MOST_WEIGHTS // bytes_of_block) if self._saves_memory else blocks
        return divide(blocks, at_once)

    def _pack_winograd(
        self, c: Contents, kind: str, channels: int, first_block: int, blocks: int, turned: bool
    ) -> tuple[int, int]:
        """Write the step that transforms the weights of some blocks of outputs.

        Return where they will be, and how far they are from one product to the next.
        """
        form = KINDS[kind]
        batch = blocks * channels * BLOCK * 4 + SPREAD
        place = self._places.workspace("weights", len(set(form.kernels)) * batch)
        per_task = -(-channels // max(1, PARTS // blocks))
        lane, step = (36, c.channels * 36) if turned else (c.channels * 36, 36)
        row = self._add(
            c.node.name, "transform weights", blocks * -(-channels // per_task),
            "pack_winograd", form.tile, form.stride, turned, output=place, output_batch=batch,
            channels=channels, lane_stride=lane, channel_stride=step, channels_per_task=per_task,
        )  # fmt: skip
        self._read_weights(row, c, first_block * BLOCK * lane)
        return place, batch

    def _parts(self, m: Map) -> dict[str, float]:
        """Into how many parts the images are cut, so that all threads have work."""
        blocks = blocks_of(m.channels)
        parts = min(m.images, -(-PARTS // blocks))
        per_part = -(-m.images // parts)
        parts = -(-m.images // per_part)
        return {
            "parts": parts, "images_per_part": per_part, "channels": m.channels,
            "partials": self._places.workspace("sums", blocks * parts * SUMS_BYTES),
        }  # fmt: skip
