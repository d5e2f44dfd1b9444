"""The way forward, in the order of the graph; and, with activation checkpointing, what of it is forgotten."""

from __future__ import annotations

import numpy as np

from ...nn import BatchNorm2d, Conv2d, MaxPool2d
from ...shapes import output_shape
from .. import weights
from ..graph import BOUNDS, Convolution, GlobalPool, Graph, Node, Pool
from ..layout import BLOCK, Map, blocks_of
from ..machine import Machine
from ..planning import Image
from ..steps import maps_added, maps_read, maps_written
from ..winograd import KINDS
from .contents import Contents
from .convolver import Convolver
from .normalization import STATISTICS_BYTES
from .places import Places


class Forward(Convolver):
    """Writes the rows of the way forward; see :class:`.TrainingWriter`."""

    def __init__(
        self, graph: Graph, machine: Machine, shape: tuple[int, int, int, int], winograd: bool, threads: int,
        places: Places, checkpoint_activations: bool,
    ) -> None:  # fmt: skip
        super().__init__(machine, shape[0], winograd, threads, places, checkpoint_activations)
        self._graph = graph
        self._maps = self._geometry(shape)
        self._learns = self._maps_with_gradient()
        self._convolutions = {node.output: self._contents(node) for node in graph.convolutions}
        self._kept_outputs = self._checkpoints()
        self._indices: dict[int, int] = {}  # addresses of the pools' choices
        for contents in self._convolutions.values():
            self._ask_for_borders(contents)
        self._place(self._maps[0])
        for position, node in enumerate(graph.nodes):
            self._forward(node)
            if checkpoint_activations:
                self._forget(position)
        self.forward_steps = len(self.rows)

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
        forward = self._winograd_groups(c, c.output, c.channels, c.out_channels, c.stride)
        if forward:
            c.source.extend(1, *KINDS[forward[0]].reach(c.output.height, c.output.width))
        if c.node.input in self._learns:
            back = self._winograd_groups(c, c.source, c.out_channels, c.channels, 1) if c.stride == 1 else None
            if back:
                c.before.extend(1, *KINDS[back[0]].reach(c.source.height, c.source.width))
            for phase in c.phases:
                for down, right in phase.taps.values():
                    c.before.extend(max(0, -down, -right), phase.height + down, phase.width + right)

    def _forget(self, position: int) -> None:
        """Let go of what is computed again on the way back."""
        graph = self._graph
        node = graph.nodes[position]
        if isinstance(node, Convolution) and self._convolutions[node.output].before is not self._maps[node.output]:
            self._release(self._convolutions[node.output].before)
        later = {number for other in graph.nodes[position + 1 :] for number in other.reads}
        for number in node.reads:
            if number not in later and number not in self._kept_outputs:
                self._release(self._maps[number])

    def _checkpoints(self) -> set[int]:
        """The maps from which all others are computed again: outputs of the stem and of every other residual layer."""
        checkpoints, number = {0, *self._graph.states}, 0
        for node in self._graph.convolutions:
            if node.drop_path is not None:  # the last of its layer
                if number % 2:
                    checkpoints.add(node.output)
                number = 0 if node.output in self._graph.states else number + 1
        return checkpoints

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

    def _normalize(self, c: Contents, norm: BatchNorm2d) -> None:
        z, output, name, blocks = c.before, c.output, c.node.name, blocks_of(c.out_channels)
        if z.images * z.height * z.width == 1 and not norm.frozen:
            raise ValueError(
                f"{name}: batch normalisation in training needs more than one value per channel, found one image of "
                "1x1 pixels there; use a larger batch or image, or hold its statistics"
            )
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
            residual = maps_added(self._maps[c.node.residual])
        row = self._add(
            name, "normalise", tasks, "normalize", norm.frozen, bool(residual), c.kept is not None,
            **maps_read(z), **maps_written(output), **residual, **parts, statistics=c.statistics, low=low, high=high,
            eps=float(norm.eps), momentum=float(norm.momentum),
        )  # fmt: skip
        self.pointers.running.append((row, norm))
        self.pointers.data += [(row, "gamma", norm.weight, 0), (row, "beta", norm.bias, 0)]

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
