"""From the graph to a table of steps: algorithms chosen, memory planned, addresses filled in, for one shape of input."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.parallel import run_together
from ..nn import AvgPool2d
from ..shapes import output_shape
from . import microkernel, record, runner
from .arithmetic import ELEMENT_BYTES
from .graph import BOUNDS, Classifier, Convolution, GlobalPool, Graph, Node, Ordinary, Pool
from .layout import BLOCK, Map, Memory, blocks_of, zeroed
from .machine import Machine, native
from .store import SPREAD, Packed, WeightStore
from .tasks import TASKS
from .tiling import split, starts, tile_shape
from .winograd import PRODUCTS, TILE, winograd_input, winograd_output

TERMS = {"float32": 256, "bfloat16": 1024, "int8": 1024}  # of a sum, before it is put aside
WINOGRAD_TERMS = 32
# Cycles, to choose an algorithm: for fetching a vector of weights from far away, and for a tile's transform.
READING, TRANSFORM = 16, 150
SCRATCH_SPACING = 4096

_cores = threading.RLock()  # a program uses them all, so programs take turns


@dataclass
class Step:
    """A step of the program, for people."""

    name: str
    how: str
    macs: int
    milliseconds: float = 0.0


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
        Maps to return, as (N, C, H, W) float32 arrays.
    winograd : bool
    threads : int
    """

    def __init__(
        self,
        graph: Graph,
        machine: Machine,
        store: WeightStore,
        shape: tuple[int, int, int, int],
        wanted: frozenset[int],
        winograd: bool,
        threads: int,
    ) -> None:
        self.graph, self.machine, self.store, self.shape = graph, machine, store, shape
        self.wanted, self.winograd, self.threads = wanted, winograd, threads
        self.precision = store.precision
        self.steps: list[Step] = []
        self._rows: list[NDArray[np.int64]] = []
        self._tables: list[NDArray[Any]] = []  # kept alive: the rows hold their addresses
        self._outputs: dict[int, NDArray[np.float32]] = {}
        self._breaks: list[tuple[int, Ordinary]] = []  # an ordinary module runs before this step
        self._scratch_bytes = SCRATCH_SPACING
        self._plan()

    # ----------------------------------------------------------------------------------------------------- planning

    def _plan(self) -> None:
        self._run = native(  # the first code to ask for: if it is in no cache, nothing is
            self.machine.address("run", lambda: runner.generate("run", self.machine.target)), len(runner.RUN_ARGUMENTS)
        )
        n, channels, height, width = self.shape
        element = ELEMENT_BYTES[self.precision]
        shapes: dict[int, tuple[int, ...]] = {0: (channels, height, width)}
        for node in self.graph.nodes:
            module = node.convolution if isinstance(node, Convolution) else node.module  # type: ignore[attr-defined]
            shape = (shapes[node.input][0],) if isinstance(node, Classifier) else shapes[node.input]
            shapes[node.output] = output_shape(module, shape)
        self.shapes = shapes
        self.maps: dict[int, Map] = {}
        for number, (c, *rest) in shapes.items():
            h, w = rest or (1, 1)
            self.maps[number] = Map(c, n, h, w, element)
            if number in self.store.maps:
                self.maps[number].zero = self.store.maps[number].zero
        for number in (self.graph.pooled, self.graph.logits):
            if number is not None:  # the images are the pixels of one row; the classifier is a 1x1 convolution
                self.maps[number] = Map(shapes[number][0], 1, 1, n, 4 if number == self.graph.logits else element)

        self.image = self._interleaved_image()
        kinds = {node.output: self._choose(node) for node in self.graph.nodes if isinstance(node, Convolution)}
        for node in self.graph.nodes:
            if isinstance(node, Convolution) and node.input != 0:
                self._ask_for_border(node, kinds[node.output])
        self._place_maps(kinds)
        self._input_step()
        for node in self.graph.nodes:
            self._write(node, kinds)
            for number in self.wanted & {node.output} - {self.graph.pooled, self.graph.logits}:
                self._output_step(number)
        self.store.finish()
        self._table = np.stack(self._rows)
        self._counters = zeroed(len(self._rows) * runner.COUNTER_BYTES).view(np.int64)
        self._spacing = -(-self._scratch_bytes // SCRATCH_SPACING) * SCRATCH_SPACING + 320
        self._scratch = zeroed(self.threads * self._spacing)

    def _interleaved_image(self) -> Map:
        """The input: the channels of a pixel side by side, with the border that the first convolution needs."""
        n, channels, height, width = self.shape
        first = self.graph.convolutions[0].convolution
        image = _Image(channels, n, height, width, ELEMENT_BYTES[self.precision])
        image.zero = self.maps[0].zero
        image.border = getattr(first, "padding", 0)
        return image

    def _choose(self, node: Convolution) -> str:
        """Direct or Winograd: by a count of multiplications, transforms, and weights to be read."""
        folded = self.store.folded(node)
        if node.input == 0:
            return "interleaved"
        output = self.maps[node.output]
        suits = (
            self.winograd
            and self.precision == "float32"
            and (folded.kernel, folded.stride, folded.dilation, folded.groups, folded.padding) == (3, 1, 1, 1, 1)
        )
        if not suits:
            return "blocked"
        tiles = output.images * -(-output.height // TILE) * -(-output.width // TILE)
        pixels = output.images * output.height * output.width
        inputs, outputs = blocks_of(folded.channels), blocks_of(folded.out_channels)
        weights = inputs * outputs * BLOCK  # vectors of 16
        direct = 9 * weights * max(pixels, READING)
        products = PRODUCTS * weights * max(1.2 * tiles, READING)
        return "winograd" if products + TRANSFORM * tiles * (inputs + outputs) < 0.95 * direct else "blocked"

    def _ask_for_border(self, node: Convolution, kind: str) -> None:
        folded, source, output = self.store.folded(node), self.maps[node.input], self.maps[node.output]
        source.extend(folded.padding)
        if kind == "winograd":
            down, right = (-(-side // TILE) * TILE + 1 for side in (output.height, output.width))
            source.extend(1, down, right)

    def _place_maps(self, kinds: Mapping[int, str]) -> None:
        """Give every map a place, from the step that writes it to the last that reads it."""
        last_use: dict[int, int] = {}
        for index, node in enumerate(self.graph.nodes):
            for number in (node.input, getattr(node, "residual", None)):
                if number is not None:
                    last_use[number] = index
        memory = Memory()
        places: dict[int, int] = {}
        image_place = memory.take(self.image.bytes, (0,))
        self._winograd_places: dict[int, tuple[int, int]] = {}
        for index, node in enumerate(self.graph.nodes):
            output = self.maps[node.output]
            places[node.output] = memory.take(output.bytes, output.geometry)
            if kinds.get(node.output) == "winograd":
                sizes = [
                    PRODUCTS * self._product_bytes(self.maps[number], output) for number in (node.input, node.output)
                ]
                self._winograd_places[node.output] = (memory.take(sizes[0]), memory.take(sizes[1]))
                for place in self._winograd_places[node.output]:
                    memory.give_back(place)
            for number, last in last_use.items():
                if last == index and number != 0:
                    memory.give_back(places[number])
            if node.output not in last_use and node.output in self.wanted:
                pass  # it is read by the output step behind it, and its place is not given to anyone
        self._memory, offsets = memory.allocate()
        start = self._memory.ctypes.data
        for number, place in places.items():
            self.maps[number].base = start + offsets[place]
        self.image.base = start + offsets[image_place]
        self._winograd_places = {
            number: (start + offsets[a], start + offsets[b]) for number, (a, b) in self._winograd_places.items()
        }
        self.memory_bytes = len(self._memory)
        for number, place in places.items():
            m = self.maps[number]
            if m.zero and not m.bare:  # the border of an 8-bit map is what stands for zero
                self._memory[offsets[place] : offsets[place] + m.bytes] = m.zero
        if self.image.zero:
            self._memory[offsets[image_place] : offsets[image_place] + self.image.bytes] = self.image.zero

    def _product_bytes(self, m: Map, output: Map) -> int:
        tiles = output.images * -(-output.height // TILE) * -(-output.width // TILE)
        return blocks_of(m.channels) * tiles * BLOCK * 4 + SPREAD

    # ------------------------------------------------------------------------------------------------ rows of the table

    def _task(self, function: str, *options: Any) -> int:
        name = "_".join([function, *map(str, options)])
        makers = {**TASKS, "winograd_input": winograd_input, "winograd_output": winograd_output}
        return self.machine.address(name, lambda: makers[function](name, self.machine.target, *options))

    def _add(self, name: str, how: str, macs: int, task: int, tasks: int, **values: float) -> None:
        self._rows.append(record.make(task=task, tasks=tasks, **values))
        self.steps.append(Step(name, how, macs))

    def _keep(self, values: Any) -> int:
        """Keep an array of integers alive and return its address."""
        array = np.ascontiguousarray(values, np.int64)
        self._tables.append(array)
        return array.ctypes.data

    def _input_step(self) -> None:
        n, channels, height, width = self.shape
        image = self.image
        quantized = self.store.maps.get(0)
        self._add(
            "pixels", "interleave channels", 0, self._task("interleave", self.precision), n * height,
            input_plane=height * width * 4, input_row=width * 4, input_image=channels * height * width * 4,
            output=image.origin, output_row=image.row, output_image=image.image, output_plane=image.pixel,
            channels=channels, height=height, width=width,
            scale=1 / quantized.scale if quantized else 1.0, zero=float(quantized.zero) if quantized else 0.0,
        )  # fmt: skip

    def _output_step(self, number: int) -> None:
        m, quantized = self.maps[number], self.store.maps.get(number)
        array = np.zeros((m.images, m.channels, m.height, m.width), np.float32)
        self._outputs[number] = array
        self._add(
            f"output {number}", "deinterleave channels", 0, self._task("deinterleave", self.precision),
            m.images * blocks_of(m.channels),
            input=m.origin, input_row=m.row, input_image=m.image, input_plane=m.plane,
            output=array.ctypes.data, output_image=array[0].nbytes, output_plane=array[0, 0].nbytes,
            images=m.images, channels=m.channels, height=m.height, width=m.width,
            scale=quantized.scale if quantized else 1.0, zero=float(quantized.zero) if quantized else 0.0,
        )  # fmt: skip

    def _write(self, node: Node, kinds: Mapping[int, str]) -> None:
        if isinstance(node, Convolution):
            if kinds[node.output] == "winograd":
                self._winograd_steps(node)
            else:
                source = self.image if node.input == 0 else self.maps[node.input]
                self._direct_step(node, self.store.get(node, kinds[node.output]), source)
        elif isinstance(node, Classifier):
            self._direct_step(node, self.store.get(node, "blocked"), self.maps[node.input], plain=True)
        elif isinstance(node, Pool):
            self._pool_step(node)
        elif isinstance(node, GlobalPool):
            self._global_pool_steps(node)
        elif isinstance(node, Ordinary):
            self._breaks.append((len(self._rows), node))

    def _limits(self, node: Node) -> dict[str, float]:
        """Bounds of the activation, in the number format of the output."""
        low, high = BOUNDS[getattr(node, "activation", "identity")]
        quantized = self.store.maps.get(node.output)
        if quantized and not isinstance(node, Classifier):
            low = max(0.0, low / quantized.scale + quantized.zero)
            high = min(255.0, high / quantized.scale + quantized.zero)
        return {"low": low, "high": high}

    def _direct_step(self, node: Convolution | Classifier, packed: Packed, source: Map, plain: bool = False) -> None:
        folded, output = packed.folded, self.maps[node.output]
        residual_number = getattr(node, "residual", None)
        residual = None if residual_number is None else self.maps[residual_number]
        interleaved = isinstance(source, _Image)
        k, stride, dilation = folded.kernel, folded.stride, folded.dilation

        # Tiles: pixels of a row, or of the whole map where nothing lies between its rows.
        flat = (k, stride, interleaved) == (1, 1, False) and all(m.bare for m in (source, output, residual or output))
        width = output.images * output.height * output.width if flat else output.width
        blocks = math.gcd(folded.span, blocks_of(folded.out_channels))
        rows, vectors = tile_shape(self.machine.target, width, blocks)
        lines = [(0, 0)] if flat else [(i, y) for i in range(output.images) for y in range(output.height)]
        xs = starts(width, rows)
        corner = source.origin - folded.padding * (source.row + source.pixel)

        def tile_places(m: Map, step: int) -> NDArray[np.int64]:
            line = np.array([i * m.image + y * step * m.row for i, y in lines], np.int64)
            return (line[:, None] + np.array(xs, np.int64) * step * m.pixel).reshape(-1)

        # The reduction: kernel positions, and blocks of channels or, for the image, whole rows of the kernel.
        if interleaved:
            depth = -(-k * source.pixel // 4)
            table = [r * source.row for r in range(k)]
        else:
            depth = source.pixel // 4
            table = [
                b * source.plane + r * dilation * source.row + c * dilation * source.pixel
                for b in range(folded.reach) for r in range(k) for c in range(k)
            ]  # fmt: skip
        groups = blocks_of(folded.out_channels) // vectors
        first_input = [g * vectors // folded.span * folded.reach * source.plane for g in range(groups)]
        terms = 4 // ELEMENT_BYTES[self.precision] * depth
        self._products_step(
            node, folded, vectors, rows, len(xs) * len(lines), depth, stride * source.pixel, table, terms, plain,
            how=f"direct {k}x{k}", macs=self._macs(node, folded), inputs=corner, output_map=output,
            input_tiles=tile_places(source, stride), output_tiles=tile_places(output, 1),
            residual_tiles=None if residual is None else tile_places(residual, 1), residual_map=residual,
            group_inputs=first_input, packed=packed, limit=TERMS[self.precision],
        )  # fmt: skip

    def _macs(self, node: Node, folded: Any) -> int:
        output = self.maps[node.output]
        pixels = output.images * output.height * output.width
        return pixels * folded.weight.size

    def _products_step(
        self, node: Node, folded: Any, vectors: int, rows: int, tiles: int, depth: int, step: int, table: list[int],
        terms: int, plain: bool, *, how: str, macs: int, inputs: int, output_map: Map | None, input_tiles: Any,
        output_tiles: Any, residual_tiles: Any, residual_map: Map | None, group_inputs: list[int], packed: Packed,
        limit: int, batch: int = 1, output: int = 0, output_plane: int = 0, **distances: float,
    ) -> None:  # fmt: skip
        """One step of tiles times weights: a direct convolution, or Winograd's 36 products."""
        groups = len(group_inputs)
        shape = microkernel.Shape(self.precision, rows, vectors, step, depth, plain)
        kernel = self.machine.address(shape.name, lambda: microkernel.generate(shape, self.machine.target))
        chunk = max(1, limit // terms)
        steps = depth * len(table)
        pair = 4 // ELEMENT_BYTES[self.precision]
        task = split(
            tiles, groups, batch, steps * rows * vectors + 60.0 * -(-len(table) // chunk),
            steps * 4.0 * rows / (1 if depth != 16 // pair else folded.kernel**2 if output_map else 1),
            steps * 64.0 * vectors, self.threads,
        )  # fmt: skip
        per_task, groups_per_task = task
        tasks = batch * -(-tiles // per_task) * -(-groups // groups_per_task)
        if len(table) > chunk:
            self._scratch_bytes = max(self._scratch_bytes, per_task * rows * vectors * 64)
        values: dict[str, float] = dict(distances)
        if output_map is not None:
            output, output_plane = output_map.origin, output_map.plane
            values |= self._limits(node)
        if residual_map is not None:
            values |= {
                "residual": residual_map.origin, "residual_plane": residual_map.plane,
                "residual_tiles": self._keep(residual_tiles),
            }  # fmt: skip
            scales = self.store.maps
            if scales:
                values["residual_scale"] = scales[node.residual].scale / scales[node.output].scale  # type: ignore[attr-defined]
        else:
            values["residual_tiles"] = self._keep(np.zeros(tiles))
        self._add(
            node.name, f"{how}, tiles {rows}x{vectors}", macs, self._task("convolve"), tasks,
            kernel=kernel, input=inputs, output=output, output_plane=output_plane,
            weights=packed.weights, weight_plane=packed.plane, weight_entry=depth * 64,
            bias=packed.bias, bias_plane=packed.bias_plane,
            input_tiles=self._keep(input_tiles), output_tiles=self._keep(output_tiles),
            tiles=tiles, tiles_per_task=per_task, tile_sums=rows * vectors * 64,
            groups=groups, groups_per_task=groups_per_task, group_blocks=vectors, group_inputs=self._keep(group_inputs),
            table=self._keep(table), entries=len(table), chunk=chunk, **values,
        )  # fmt: skip

    def _winograd_steps(self, node: Convolution) -> None:
        packed = self.store.get(node, "winograd")
        folded, source, output = packed.folded, self.maps[node.input], self.maps[node.output]
        rows_of_tiles, columns = -(-output.height // TILE), -(-output.width // TILE)
        tiles = output.images * rows_of_tiles * columns
        transformed, products = self._winograd_places[node.output]
        in_batch, out_batch = (self._product_bytes(m, output) for m in (source, output))
        per_task = max(1, -(-rows_of_tiles // 4))
        bands = -(-rows_of_tiles // per_task)
        common = {
            "images": output.images, "tile_rows": rows_of_tiles, "tile_columns": columns, "rows_per_task": per_task,
        }  # fmt: skip
        self._add(
            node.name, "Winograd: inputs", 0, self._task("winograd_input"),
            output.images * blocks_of(source.channels) * bands,
            input=source.origin - source.row - source.pixel, input_row=source.row, input_plane=source.plane,
            input_image=source.image, output=transformed, output_batch=in_batch, **common,
        )  # fmt: skip

        rows, vectors = tile_shape(self.machine.target, tiles, blocks_of(folded.out_channels))
        places = np.array(starts(tiles, rows), np.int64) * (BLOCK * 4)
        plane = tiles * BLOCK * 4
        zero_bias = self.store_zero_bias(blocks_of(folded.out_channels))
        self._products_step(
            node, folded, vectors, rows, len(places), BLOCK, BLOCK * 4,
            [block * plane for block in range(blocks_of(folded.channels))], BLOCK, False,
            how="Winograd: products", macs=self._macs(node, folded), inputs=transformed, output_map=None,
            input_tiles=places, output_tiles=places, residual_tiles=None, residual_map=None,
            group_inputs=[0] * (blocks_of(folded.out_channels) // vectors),
            packed=packed._replace(bias=zero_bias), limit=WINOGRAD_TERMS, batch=PRODUCTS,
            output=products, output_plane=plane, input_batch=in_batch, output_batch=out_batch,
            weight_batch=packed.batch, low=float("-inf"), high=float("inf"),
        )  # fmt: skip

        residual = None if node.residual is None else self.maps[node.residual]
        if residual is not None:
            common |= {
                "residual": residual.origin, "residual_row": residual.row, "residual_plane": residual.plane,
                "residual_image": residual.image,
            }  # fmt: skip
        self._add(
            node.name, "Winograd: outputs", 0, self._task("winograd_output", residual is not None),
            output.images * blocks_of(output.channels) * bands,
            input=products, input_batch=out_batch, output=output.origin, output_row=output.row,
            output_plane=output.plane, output_image=output.image, bias=packed.bias,
            height=output.height, width=output.width, **common, **self._limits(node),
        )  # fmt: skip

    def store_zero_bias(self, blocks: int) -> int:
        """Return the address of as many zeros as there are output channels."""
        zeros = np.zeros(blocks * BLOCK, np.float32)
        self._tables.append(zeros)
        return zeros.ctypes.data

    def _pool_step(self, node: Pool) -> None:
        source, output, module = self.maps[node.input], self.maps[node.output], node.module
        if isinstance(module, AvgPool2d):
            kind, window, stride, padding = "mean", 2, module.stride, 0
        else:
            kind, window, stride, padding = "max", module.kernel, module.stride, module.padding
        self._add(
            node.name, f"{kind} pool {window}x{window}", 0, self._task("pool", self.precision, kind, window),
            output.images * blocks_of(output.channels) * output.height,
            input=source.origin, input_row=source.row, input_plane=source.plane, input_image=source.image,
            output=output.origin, output_row=output.row, output_plane=output.plane, output_image=output.image,
            images=output.images, height=source.height, width=source.width,
            out_height=output.height, out_width=output.width,
            stride=stride, padding=padding, counts_padding=int(kind == "mean" and stride == 1),
        )  # fmt: skip

    def _global_pool_steps(self, node: GlobalPool) -> None:
        source, output, kind = self.maps[node.input], self.maps[node.output], node.module.kind
        halves = ("avg", "max") if kind == "catavgmax" else (kind,)
        quantized = self.store.maps
        for half, own in enumerate(halves):
            values: dict[str, float] = {}
            if quantized:
                before, after = quantized[node.input], quantized[node.output]
                values = {
                    "scale": before.scale / after.scale,
                    "zero": after.zero - before.zero * before.scale / after.scale,
                }
            self._add(
                node.name, f"global {own} pool", 0, self._task("global_pool", self.precision, own),
                source.images * blocks_of(source.channels),
                input=source.origin, input_row=source.row, input_plane=source.plane, input_image=source.image,
                output=output.origin + half * blocks_of(source.channels) * output.plane,
                output_plane=output.plane, output_image=output.pixel,
                images=source.images, height=source.height, width=source.width, **values,
            )  # fmt: skip

    @property
    def ordinary(self) -> list[str]:
        """Names of the modules that run on the ordinary path."""
        return [node.name for _, node in self._breaks]

    # ------------------------------------------------------------------------------------------------------ running

    def run(self, x: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
        """Run the network and return the wanted maps; for one thread at a time."""
        with _cores:
            self._table[0, record.index("input")] = x.ctypes.data
            start = 0
            for end, node in self._breaks:
                self._execute(start, end)
                self._run_ordinary(node)
                start = end
            self._execute(start, len(self._table))
            return self._collect()

    def _execute(self, start: int, end: int) -> None:
        if start == end:
            return
        self._counters[:] = 0
        program = self._table[start:end].ctypes.data
        arguments = (program, end - start, self._counters.ctypes.data)
        scratch, give_way = self._scratch.ctypes.data, runner.give_way()
        run_together(lambda thread: self._run(*arguments, scratch + thread * self._spacing, give_way), self.threads)

    def profile(self, x: NDArray[np.float32], repeats: int = 5) -> None:
        """Run step by step and note the time of each."""
        with _cores:
            self._table[0, record.index("input")] = x.ctypes.data
            breaks = dict(self._breaks)
            times = np.zeros((repeats, len(self.steps)))
            for repeat in range(repeats):
                for number in range(len(self.steps)):
                    if number in breaks:
                        self._run_ordinary(breaks[number])
                    begin = time.perf_counter()
                    self._execute(number, number + 1)
                    times[repeat, number] = time.perf_counter() - begin
            for step, milliseconds in zip(self.steps, np.median(times, axis=0) * 1e3, strict=True):
                step.milliseconds = float(milliseconds)

    def _view(self, m: Map) -> NDArray[Any]:
        """A map without its border: (C / 16, N, H, W, 16)."""
        offset = m.base - self._memory.ctypes.data
        dtype = {4: np.float32, 2: np.uint16, 1: np.uint8}[m.element]
        whole = self._memory[offset : offset + m.bytes].view(dtype)
        shape = (blocks_of(m.channels), m.images, m.image // m.row, m.row // m.pixel, BLOCK)
        b = m.border
        return whole.reshape(shape)[:, :, b : b + m.height, b : b + m.width]

    def _numbers(self, number: int) -> NDArray[np.float32]:
        """A map as (N, C, H, W) float32."""
        m = self.maps[number]
        view = self._view(m).transpose(1, 0, 4, 2, 3).reshape(m.images, -1, m.height, m.width)[:, : m.channels]
        if m.element == 2:
            return (view.astype(np.uint32) << 16).view(np.float32)
        if m.element == 1:
            scale, zero = self.store.maps[number]
            return (view.astype(np.float32) - np.float32(zero)) * np.float32(scale)
        return np.ascontiguousarray(view)

    def _run_ordinary(self, node: Ordinary) -> None:
        from .weights import to_bfloat16

        y = node.module(self._numbers(node.input))
        m = self.maps[node.output]
        filled = np.zeros((m.images, blocks_of(m.channels) * BLOCK, m.height, m.width), np.float32)
        filled[:, : m.channels] = y
        blocked = filled.reshape(m.images, -1, BLOCK, m.height, m.width).transpose(1, 0, 3, 4, 2)
        if m.element == 2:
            self._view(m)[...] = to_bfloat16(blocked)
        elif m.element == 1:
            scale, zero = self.store.maps[node.output]
            self._view(m)[...] = np.clip(np.rint(blocked / np.float32(scale)) + zero, 0, 255)
        else:
            self._view(m)[...] = blocked

    def _collect(self) -> dict[int, NDArray[np.float32]]:
        results = {}
        for number in self.wanted:
            if number in self._outputs:
                results[number] = self._outputs[number].copy()
            else:  # pooled or logits: (C / 16, 1, 1, N, 16)
                results[number] = np.ascontiguousarray(self._numbers(number)[0, :, 0].T)
        return results


class _Image(Map):
    """The input, with its few channels side by side instead of blocks of 16."""

    @property
    def pixel(self) -> int:
        return self.channels * self.element

    @property
    def bytes(self) -> int:
        return self.plane
