"""The steps of training: forward in the order of the graph, backward against it.

For a convolution with its normalisation the way forward is

    pack weights -> convolve (directly, or by Winograd's algorithm) -> sums for statistics -> normalise, add, cut off

and the way back

    sums of gradients -> gradient of the normalisation -> gradient of the weights;
    pack weights turned around -> convolve

The map between convolution and normalisation is kept for the way back, where its gradient is written over it. The
gradient of an output that is also a residual's is the residual's gradient as it stands, so it only changes its name;
what else flows into the same map is added in the epilogue of the convolution that computes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...nn import BatchNorm2d, Conv2d, Dropout, MaxPool2d, Parameter
from ...shapes import output_shape
from .. import record, weights
from ..graph import BOUNDS, Convolution, GlobalPool, Graph, Node, Pool
from ..layout import BLOCK, Map, blocks_of
from ..machine import Machine
from ..planning import Image, divide, fastest_kind
from ..products import Tiles, products_of
from ..steps import TERMS, WINOGRAD_TERMS, Step, maps_read, maps_written
from ..store import SPREAD
from ..tiling import starts, tile_shape
from ..winograd import KINDS
from .normalization import STATISTICS_BYTES, SUMS_BYTES
from .places import Places

PARTS = 16  # tasks that a step should have, so that threads end together
LINE = 448  # pixels of a sum in float32
WORKSPACE = 2 << 20  # bytes of Winograd's products that stay in the cache


@dataclass
class Contents:
    """What a convolution leaves for its way back."""

    node: Convolution
    weight: Parameter | NDArray[np.float32]
    channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    source: Map
    before: Map  # the convolution's output, before the normalisation
    output: Map
    statistics: int = 0  # address
    kept: NDArray[np.float32] | None = None  # (N,) factors of stochastic depth

    @property
    def taps(self) -> list[tuple[int, int]]:
        """Kernel positions."""
        return [(r, c) for r in range(self.kernel) for c in range(self.kernel)]


@dataclass
class Pointers:
    """Addresses in rows that may change from step to step."""

    data: list[tuple[int, str, Parameter]] = field(default_factory=list)
    gradients: list[tuple[int, str, Parameter]] = field(default_factory=list)
    running: list[tuple[int, BatchNorm2d]] = field(default_factory=list)
    kept: list[tuple[NDArray[np.float32], Dropout]] = field(default_factory=list)
    image: int = 0
    head: int = 0  # the row that reads the gradient of the pooled features


class TrainingWriter:
    """Writes the rows of a training step.

    Parameters
    ----------
    graph : Graph
    machine : Machine
    shape : (N, C, H, W)
    winograd : bool
    threads : int
    places : Places

    Attributes
    ----------
    rows : list of row
    steps : list of Step
        The same for people.
    forward_steps : int
        How many of them belong to the way forward.
    pointers : Pointers
    pooled : Map
        The result: the images are the pixels of its one row.
    scratch_bytes : int
    """

    def __init__(
        self, graph: Graph, machine: Machine, shape: tuple[int, int, int, int], winograd: bool, threads: int,
        places: Places, checkpoint_activations: bool = False,
    ) -> None:  # fmt: skip
        self._graph, self._machine, self._winograd, self._threads = graph, machine, winograd, threads
        self._checkpoints = checkpoint_activations
        self._target, self._places, self._images = machine.target, places, shape[0]
        self.rows: list[NDArray[np.int64]] = []
        self.steps: list[Step] = []
        self.pointers = Pointers()
        self.scratch_bytes = 4096
        self._kept: list[Any] = []
        self._zeros = self._keep(np.zeros(16))
        self._maps = self._geometry(shape)
        self._learns = self._maps_with_gradient()
        self._convolutions = {node.output: self._contents(node) for node in graph.convolutions}
        self._indices: dict[int, int] = {}
        for contents in self._convolutions.values():
            self._ask_for_borders(contents)
        self._live: set[int] = set()  # ids of the maps that have a place and their contents
        self._place(self._maps[0])
        for position, node in enumerate(graph.nodes):
            self._forward(node)
            if checkpoint_activations:
                self._forget(position)
        self.forward_steps = len(self.rows)
        self._gradients: dict[int, Map] = {}
        for node in reversed(graph.nodes):
            if node.output in self._learns:
                self._backward(node)

    # --------------------------------------------------------------------------------------------------- preparation

    @property
    def pooled(self) -> Map:
        assert self._graph.pooled is not None
        return self._maps[self._graph.pooled]

    def _geometry(self, shape: tuple[int, int, int, int]) -> dict[int, Map]:
        n, channels, height, width = shape
        image = Image(channels, n, height, width, 4)
        maps: dict[int, Map] = {0: image}
        shapes: dict[int, tuple[int, ...]] = {0: shape[1:]}
        for node in self._graph.nodes:
            shapes[node.output] = after = output_shape(node.layer, shapes[node.input])
            if isinstance(node, GlobalPool):
                maps[node.output] = Map(after[0], 1, 1, n, 4)
            else:
                maps[node.output] = Map(after[0], n, after[1], after[2], 4)
        return maps

    def _maps_with_gradient(self) -> set[int]:
        """Maps that a learning parameter has a part in."""
        learns: set[int] = set()
        for node in self._graph.nodes:
            own = [node.layer] + ([node.normalization] if isinstance(node, Convolution) else [])
            parameters = [p for module in own if module is not None for p in module.parameters()]
            if any(p.requires_grad for p in parameters) or learns.intersection(node.reads):
                learns.add(node.output)
        return learns

    def _contents(self, node: Convolution) -> Contents:
        layer, source, output = node.layer, self._maps[node.input], self._maps[node.output]
        before = output
        if node.normalization is not None:
            before = Map(output.channels, output.images, output.height, output.width, 4)
        if isinstance(layer, Conv2d):
            geometry = (layer.kernel, layer.stride, layer.padding, layer.dilation)
            return Contents(node, layer.weight, source.channels, output.channels, *geometry, source, before, output)
        ones = np.ascontiguousarray(weights.fold(node, source.channels).weight, np.float32)
        self._kept.append(ones)
        return Contents(node, ones, source.channels, output.channels, 1, layer.stride, 0, 1, source, before, output)

    def _ask_for_borders(self, c: Contents) -> None:
        c.source.extend(c.padding)
        tiles = self._winograd_groups(c, c.output, c.channels, c.out_channels, c.stride)
        if tiles:
            form = KINDS[tiles[0]]
            c.source.extend(1, *_reach(form, c.output))
        if c.node.input in self._learns:
            if self._winograd_groups(c, c.source, c.out_channels, c.channels, 1) and c.stride == 1:
                form = KINDS[self._winograd_groups(c, c.source, c.out_channels, c.channels, 1)[0]]  # type: ignore[index]
                c.before.extend(1, *_reach(form, c.source))
            for phase in self._phases(c):
                for down, right in phase.taps.values():
                    c.before.extend(max(0, -down, -right), phase.height + down, phase.width + right)

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

    def _place(self, m: Map) -> None:
        """Give a map memory, unless it has some."""
        if id(m) not in self._live:
            self._places.place(m)
            self._live.add(id(m))
            self._kept.append(m)  # so that no other map gets the same id

    def _release(self, m: Map) -> None:
        """Let go of a map's memory, if it still has some."""
        if id(m) in self._live:
            self._places.give_back(m.base)
            self._live.remove(id(m))

    def _forget(self, position: int) -> None:
        """Let go of what is computed again on the way back: all but the outputs of stem and residual layers."""
        graph = self._graph
        node = graph.nodes[position]
        if isinstance(node, Convolution) and self._convolutions[node.output].before is not self._maps[node.output]:
            self._release(self._convolutions[node.output].before)
        later = {number for other in graph.nodes[position + 1 :] for number in other.reads}
        for number in node.reads:
            if number not in later and number not in self._kept_outputs:
                self._release(self._maps[number])

    @property
    def _kept_outputs(self) -> set[int]:
        """Outputs of residual layers, and of the stem: what several nodes read."""
        nodes = [node for node in self._graph.nodes if isinstance(node, Convolution) and node.drop_path is not None]
        return {0, self._graph.states[0], *(node.output for node in nodes)}

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

    # ------------------------------------------------------------------------------------------------------- forward

    def _forward(self, node: Node) -> None:
        if isinstance(node, Convolution):
            if node.input == 0:
                self._interleave()
            contents = self._convolutions[node.output]
            self._place(contents.before)
            self._convolve(contents)
            if node.normalization is not None:
                self._place(contents.output)
                self._normalize(contents, node.normalization)
        elif isinstance(node, Pool):
            self._max_pool(node)
        else:
            assert isinstance(node, GlobalPool)
            source, output = self._maps[node.input], self._maps[node.output]
            self._place(output)
            self._add(
                node.name, "global avg pool", source.images * blocks_of(source.channels),
                "global_pool", "float32", "avg", **maps_read(source),
                output=output.origin, output_plane=output.plane, output_image=output.pixel,
            )  # fmt: skip

    def _interleave(self) -> None:
        image = self._maps[0]
        plane = image.height * image.width * 4
        self.pointers.image = self._add(
            "pixels", "interleave channels", image.images * image.height, "interleave", "float32",
            input_plane=plane, input_row=image.width * 4, input_image=image.channels * plane,
            output=image.origin, output_row=image.row, output_image=image.image, output_plane=image.pixel,
            channels=image.channels, height=image.height, width=image.width, scale=1.0, zero=0.0,
        )  # fmt: skip

    def _convolve(self, c: Contents) -> None:
        groups = self._winograd_groups(c, c.output, c.channels, c.out_channels, c.stride)
        if groups:
            self._by_winograd(c, *groups, c.source, c.before, c.channels, c.out_channels, c.stride, None, False)
            return
        k, area = c.kernel, c.kernel**2
        corner = c.source.origin - c.padding * (c.source.row + c.source.pixel)
        if c.node.input == 0:
            numbers = k * c.channels
            table = [(t % c.channels * area + r * k + t // c.channels) * 4 for r in range(k) for t in range(numbers)]
            entries, depth = [r * c.source.row for r in range(k)], numbers
        else:
            table = [
                ((block * BLOCK + lane) * area + r * k + s) * 4 if block * BLOCK + lane < c.channels else -1
                for block in range(blocks_of(c.channels)) for r, s in c.taps for lane in range(BLOCK)
            ]  # fmt: skip
            entries = [
                block * c.source.plane + c.dilation * (r * c.source.row + s * c.source.pixel)
                for block in range(blocks_of(c.channels)) for r, s in c.taps
            ]  # fmt: skip
            depth = BLOCK
        packed = self._pack(c, table, c.out_channels, c.channels * area * 4)
        self._direct(
            c, f"direct {k}x{k}", packed, depth, entries, c.source, c.before, None, corner,
            c.stride, 1, (c.output.height, c.output.width), (0, 0), c.out_channels,
        )  # fmt: skip

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

    def _read_weights(self, row: int, c: Contents) -> None:
        if isinstance(c.weight, Parameter):
            self.pointers.data.append((row, "input", c.weight))
        else:
            self.rows[row][record.index("input")] = c.weight.ctypes.data

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
        plane = channels * BLOCK * 4
        batch = blocks * plane + SPREAD
        weights = self._places.workspace("weights", len(set(form.kernels)) * batch)
        per_task = -(-channels // max(1, PARTS // blocks))
        strides = (36, c.channels * 36) if turned else (c.channels * 36, 36)
        row = self._add(
            c.node.name, "transform weights", blocks * -(-channels // per_task),
            "pack_winograd", form.tile, form.stride, turned, output=weights, output_batch=batch,
            channels=channels, lane_stride=strides[0], channel_stride=strides[1], channels_per_task=per_task,
        )  # fmt: skip
        self._read_weights(row, c)
        rows, columns = -(-output.height // form.tile), -(-output.width // form.tile)
        name = kind.capitalize()
        for first, images in groups:
            tiles = images * rows * columns
            input_batch, output_batch = (n * tiles * BLOCK * 4 + SPREAD for n in (inputs, blocks))
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
            tile_rows, vectors = tile_shape(self._target, tiles, blocks, far=True)
            at = np.array(starts(tiles, tile_rows), np.int64) * (BLOCK * 4)
            table = [block * tiles * BLOCK * 4 for block in range(inputs)]
            nothing = np.zeros(len(at), np.int64)
            product = products_of(
                self._machine, "float32",
                Tiles(tile_rows, vectors, at, at, nothing, [0] * (blocks // vectors), table, BLOCK, BLOCK * 4),
                WINOGRAD_TERMS[form.tile], form.products, 1, self._threads, self._keep,
            )  # fmt: skip
            self.scratch_bytes = max(self.scratch_bytes, product.scratch_bytes)
            self._add(
                c.node.name, f"{name}: products, tiles {tile_rows}x{vectors}", product.tasks, "convolve",
                macs=images * output.height * output.width * 9 * channels * out_channels,
                weights=weights, weight_plane=plane, weight_products=self._keep([n * batch for n in form.kernels]),
                bias=self._zeros, input=transformed, input_batch=input_batch, output=products,
                output_batch=output_batch, output_plane=tiles * BLOCK * 4, low=-math.inf, high=math.inf,
                **product.fields,
            )  # fmt: skip
            fields: dict[str, float] = {}
            if residual is not None:
                r = residual.part(first, images)
                fields = {
                    "residual": r.origin, "residual_row": r.row, "residual_plane": r.plane, "residual_image": r.image
                }  # fmt: skip
            self._add(
                c.node.name, f"{name}: outputs", images * blocks * bands,
                "winograd_output", "float32", form.tile, form.stride, residual is not None,
                input=products, input_batch=output_batch, **maps_written(result), bias=self._keep(np.zeros(blocks * 8)),
                images=images, height=output.height, width=output.width, low=-math.inf, high=math.inf, **grid, **fields,
            )  # fmt: skip

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

    def _normalize(self, c: Contents, norm: BatchNorm2d) -> None:
        z, output, name, blocks = c.before, c.output, c.node.name, blocks_of(c.out_channels)
        statistics = np.zeros(blocks * STATISTICS_BYTES // 4, np.float32)
        self._kept.append(statistics)
        c.statistics = statistics.ctypes.data
        parts = self._parts(z)
        if c.node.drop_path is not None and c.node.drop_path.rate:
            c.kept = np.ones(z.images, np.float32)
            self.pointers.kept.append((c.kept, c.node.drop_path))
            parts["kept"] = c.kept.ctypes.data
        tasks = int(blocks * parts["parts"])
        if not norm.frozen:
            self._add(name, "batch statistics", tasks, "batch_statistics", **maps_read(z), **parts)
        low, high = BOUNDS[c.node.activation]
        residual: dict[str, float] = {}
        if c.node.residual is not None:
            r = self._maps[c.node.residual]
            residual = {
                "residual": r.origin, "residual_row": r.row, "residual_plane": r.plane, "residual_image": r.image
            }  # fmt: skip
        row = self._add(
            name, "normalise", tasks, "normalize", norm.frozen, bool(residual), c.kept is not None,
            **maps_read(z), **maps_written(output), **residual, **parts, statistics=c.statistics, low=low, high=high,
            eps=float(norm.eps), momentum=float(norm.momentum),
        )  # fmt: skip
        self.pointers.running.append((row, norm))
        self.pointers.data += [(row, "gamma", norm.weight), (row, "beta", norm.bias)]

    def _max_pool(self, node: Pool) -> None:
        source, output, module = self._maps[node.input], self._maps[node.output], node.layer
        assert isinstance(module, MaxPool2d)
        self._place(output)
        planes = output.images * blocks_of(output.channels)
        self._indices[node.output] = self._places.take(planes * output.height * output.width * BLOCK)
        self._add(
            node.name, f"max pool {module.kernel}x{module.kernel}", planes * output.height,
            "max_pool_indexed", module.kernel, **maps_read(source), **maps_written(output),
            out_height=output.height, out_width=output.width, stride=module.stride, padding=module.padding,
            index=self._indices[node.output],
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------------ backward

    def _backward(self, node: Node) -> None:
        if isinstance(node, GlobalPool):
            self._spread(node)
        elif isinstance(node, Pool):
            self._max_pool_gradient(node)
        else:
            assert isinstance(node, Convolution)
            c = self._convolutions[node.output]
            learns = isinstance(c.weight, Parameter) and c.weight.requires_grad
            if node.normalization is not None:
                self._compute_again(c)
                self._normalization_gradient(c, node.normalization)
                dz = c.before
            else:
                dz = self._gradients.pop(node.output)
            self._release(c.output)  # whoever reads it has had its way back
            if learns:
                self._compute_source_again(c)
                self._weight_gradient(c, dz)
            if node.input in self._learns:
                self._input_gradient(c, dz)
            self._release(dz)

    def _new_gradient(self, number: int) -> Map:
        m = self._maps[number]
        gradient = Map(m.channels, m.images, m.height, m.width, 4)
        self._place(gradient)
        self._gradients[number] = gradient
        return gradient

    def _spread(self, node: GlobalPool) -> None:
        if node.input not in self._learns:
            return
        gradient = self._new_gradient(node.input)
        self.pointers.head = self._add(
            node.name, "gradient of the mean", gradient.images * blocks_of(gradient.channels), "spread_gradient",
            **maps_written(gradient), images=gradient.images, height=gradient.height, width=gradient.width,
        )  # fmt: skip

    def _max_pool_gradient(self, node: Pool) -> None:
        dy, module = self._gradients.pop(node.output), node.layer
        assert isinstance(module, MaxPool2d)
        if node.input in self._learns:
            dx = self._new_gradient(node.input)
            self._add(
                node.name, "gradient of the pool", dx.images * blocks_of(dx.channels) * dx.height,
                "max_pool_gradient", module.kernel, **_gradient(dy), **maps_written(dx), images=dx.images,
                height=dx.height, width=dx.width, out_height=dy.height, out_width=dy.width,
                stride=module.stride, padding=module.padding, index=self._indices[node.output],
            )  # fmt: skip
        self._release(dy)
        self._release(self._maps[node.output])
        self._places.give_back(self._indices[node.output])

    def _compute_again(self, c: Contents) -> None:
        """Make the input of a normalisation anew, if it was forgotten."""
        if id(c.before) not in self._live:
            self._compute_source_again(c)
            self._place(c.before)
            self._convolve(c)

    def _compute_source_again(self, c: Contents) -> None:
        """Make the input of a convolution anew, if it was forgotten: the output of the one before."""
        if id(c.source) in self._live:
            return
        maker = self._convolutions[c.node.input]
        self._compute_again(maker)
        self._place(c.source)
        low, high = BOUNDS[maker.node.activation]
        parts = self._parts(maker.before)
        self._add(
            maker.node.name, "normalise again", int(blocks_of(maker.out_channels) * parts["parts"]), "normalize_again",
            **maps_read(maker.before), **maps_written(c.source), **parts, statistics=maker.statistics,
            low=low, high=high,
        )  # fmt: skip

    def _normalization_gradient(self, c: Contents, norm: BatchNorm2d) -> None:
        dy, z, name = self._gradients.pop(c.node.output), c.before, c.node.name
        low, high = BOUNDS[c.node.activation]
        where = "everywhere" if c.node.activation == "identity" else "input" if c.node.residual is None else "output"
        parts = self._parts(z)
        tasks = int(blocks_of(c.out_channels) * parts["parts"])
        fields = {**maps_read(z), **parts, **_gradient(dy), "statistics": c.statistics, "low": low, "high": high}
        drops = c.kept is not None
        if c.kept is not None:
            fields["kept"] = c.kept.ctypes.data
        self._add(name, "sums of gradients", tasks, "gradient_sums", where, drops, **fields, **maps_written(c.output))
        row = self._add(
            name, "gradient of the normalisation", tasks, "normalize_gradient", norm.frozen,
            "input" if where == "input" else "everywhere", drops, **fields,
        )  # fmt: skip
        for field_name, parameter in (("gamma_gradient", norm.weight), ("beta_gradient", norm.bias)):
            if parameter.requires_grad:
                self.pointers.gradients.append((row, field_name, parameter))
        residual = c.node.residual
        if residual is not None and residual in self._learns:
            assert residual not in self._gradients
            self._gradients[residual] = dy
        else:
            self._release(dy)

    def _weight_gradient(self, c: Contents, dz: Map) -> None:
        """Two steps: sums in the order of the kernel, and from there to the parameter's gradient."""
        source, k, area = c.source, c.kernel, c.kernel**2
        out_blocks = blocks_of(c.out_channels)
        is_image = c.node.input == 0
        wide = k * c.channels if is_image else BLOCK  # numbers side by side
        shapes = [
            (rows, vectors) for vectors in (1, 2, 3, 4) for rows in range(1, wide + 1)
            if wide % rows == 0 and out_blocks % vectors == 0 and self._target.fits(rows, vectors)
        ]  # fmt: skip
        rows, vectors = max(shapes, key=lambda shape: (min(shape[0] * shape[1], 16), -abs(shape[0] - 4 * shape[1])))
        pieces, groups = wide // rows, out_blocks // vectors
        blocks = 1 if is_image else blocks_of(c.channels)
        kernel = [(r, 0) for r in range(k)] if is_image else c.taps
        places = [
            c.dilation * (r * source.row + s * source.pixel) + piece * rows * 4
            for r, s in kernel for piece in range(pieces)
        ]  # fmt: skip
        corner = source.origin - c.padding * (source.row + source.pixel)
        lines, width = self._lines(c, dz)
        per_task = 1 if len(places) * rows * vectors > 64 else min(blocks, 4)
        tasks = groups * -(-blocks // per_task)
        parts = min(len(lines), max(1, -(-PARTS // tasks)))
        per_part = -(-len(lines) // parts)
        parts = -(-len(lines) // per_part)
        tile = rows * vectors * 64
        sums = self._places.workspace("gradients", parts * groups * blocks * len(places) * tile)
        address = self._machine.function("gradient_kernel", rows, vectors, c.stride * source.pixel)
        shared = {
            "channels": blocks, "taps": len(places), "tile_sums": tile, "groups": groups, "parts": parts,
        }  # fmt: skip
        self._add(
            c.node.name, f"gradient of the weights, tiles {rows}x{vectors}", tasks * parts, "weight_gradient",
            macs=dz.images * dz.height * dz.width * area * c.channels * c.out_channels,
            kernel=address, input=corner, input_plane=source.plane, gradient=dz.origin, gradient_plane=dz.plane,
            output=sums, group_blocks=vectors, channels_per_task=per_task, tap_places=self._keep(places),
            input_lines=self._keep([line[0] for line in lines]), gradient_lines=self._keep([line[1] for line in lines]),
            lines=len(lines), lines_per_part=per_part, width=width, chunk=max(1, LINE // width), **shared,
        )  # fmt: skip

        # For each number of a block: its place in the tiles, and in the weights of one output.
        numbers = []
        for tap, (r, s) in enumerate(kernel):
            for number in range(wide):
                piece, lane = divmod(number, rows)
                channel, place = (
                    (number % c.channels, r * k + number // c.channels) if is_image else (number, r * k + s)
                )
                numbers.append((channel * area + place, (tap * pieces + piece) * tile + lane * 64))
        numbers.sort()
        table = [
            (block * BLOCK * area + place) * 4 if block * BLOCK * area + place < c.channels * area else -1
            for block in range(blocks) for place, _ in numbers
        ]  # fmt: skip
        row = self._add(
            c.node.name, "sum of the parts", groups * blocks, "unpack_gradient", rows, vectors, input=sums,
            table=self._keep(table), entries=len(numbers), input_lines=self._keep([source for _, source in numbers]),
            lane_stride=c.channels * area * 4, out_channels=c.out_channels, **shared,
        )  # fmt: skip
        assert isinstance(c.weight, Parameter)
        self.pointers.gradients.append((row, "output", c.weight))

    def _lines(self, c: Contents, dz: Map) -> tuple[list[tuple[int, int]], int]:
        """Lines of pixels, as distances in input and gradient, and their length."""
        source, stride = c.source, c.stride
        width, together = dz.width, 1
        if (c.kernel, stride) == (1, 1) and source.bare and dz.bare:
            together = max(m for m in range(1, dz.height + 1) if dz.height % m == 0 and (m == 1 or m * width <= LINE))
        return [
            (i * source.image + y * stride * source.row, i * dz.image + y * dz.row)
            for i in range(dz.images) for y in range(0, dz.height, together)
        ], width * together  # fmt: skip

    def _input_gradient(self, c: Contents, dz: Map) -> None:
        residual = self._gradients.get(c.node.input)
        dx = residual or self._new_gradient(c.node.input)
        groups = self._winograd_groups(c, c.source, c.out_channels, c.channels, 1) if c.stride == 1 else None
        if groups:
            self._by_winograd(c, *groups, dz, dx, c.out_channels, c.channels, 1, residual, True)
            return
        phases = self._phases(c)
        if residual is None and any(not phase.taps for phase in phases):
            self._add(
                c.node.name, "zeros", dx.images * blocks_of(dx.channels), "clear", **maps_written(dx),
                images=dx.images, height=dx.height, width=dx.width,
            )  # fmt: skip
        area, k = c.kernel**2, c.kernel
        for phase in phases:
            if not phase.taps or not phase.height or not phase.width:
                continue
            table = [
                ((block * BLOCK + lane) * c.channels * area + r * k + s) * 4
                if block * BLOCK + lane < c.out_channels else -1
                for block in range(blocks_of(c.out_channels)) for r, s in phase.taps for lane in range(BLOCK)
            ]  # fmt: skip
            entries = [
                block * dz.plane + down * dz.row + right * dz.pixel
                for block in range(blocks_of(c.out_channels)) for down, right in phase.taps.values()
            ]  # fmt: skip
            packed = self._pack(c, table, c.channels, area * 4)
            self._direct(
                c, f"gradient of the input, {k}x{k}", packed, BLOCK, entries, dz, dx, residual, dz.origin,
                1, c.stride, (phase.height, phase.width), (phase.y, phase.x), c.channels,
            )  # fmt: skip

    def _phases(self, c: Contents) -> list[Phase]:
        """For each pixel of a square of ``stride`` the kernel positions that meet it, and how far their output is."""
        s, p, d = c.stride, c.padding, c.dilation
        phases = []
        for y in range(s):
            for x in range(s):
                taps = {
                    (r, q): ((y + p - d * r) // s, (x + p - d * q) // s)
                    for r, q in c.taps
                    if (y + p - d * r) % s == 0 and (x + p - d * q) % s == 0
                }
                phases.append(Phase(y, x, -(-(c.source.height - y) // s), -(-(c.source.width - x) // s), taps))
        return phases


@dataclass
class Phase:
    """The pixels of a map that a convolution with a stride reads with the same kernel positions."""

    y: int  # the first of them
    x: int
    height: int  # how many
    width: int
    taps: dict[tuple[int, int], tuple[int, int]]  # kernel position: rows down and columns right to its output


def _reach(form: Any, output: Map) -> tuple[int, int]:
    """Rows and columns below and right of the border that the last tiles read."""
    step, more = form.tile * form.stride, form.span - 1
    sizes = (-(-size // form.tile) for size in (output.height, output.width))
    rows, columns = (step * (count - 1) + more for count in sizes)
    return rows, columns


def _gradient(m: Map) -> dict[str, float]:
    """The fields that say where a gradient lies."""
    return {
        "gradient": m.origin, "gradient_row": m.row, "gradient_plane": m.plane, "gradient_image": m.image
    }  # fmt: skip
