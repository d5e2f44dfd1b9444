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

from ...nn import BatchNorm2d, MaxPool2d, Parameter
from ..graph import BOUNDS, Convolution, GlobalPool, Graph, Node, Pool
from ..layout import BLOCK, Map, blocks_of
from ..machine import Machine
from ..steps import maps_added, maps_read, maps_written
from .contents import Contents
from .convolver import PARTS
from .forward import Forward
from .places import Places

LINE = 448  # pixels of a sum in float32


class TrainingWriter(Forward):
    """Writes the rows of a training step.

    Parameters
    ----------
    graph : Graph
    machine : Machine
    shape : (N, C, H, W)
    winograd : bool
    threads : int
    places : Places
    checkpoint_activations : bool
        Keep only the outputs of the stem and of every other residual layer.

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
        super().__init__(graph, machine, shape, winograd, threads, places, checkpoint_activations)
        self._gradients: dict[int, Map] = {}
        for node in reversed(graph.nodes):
            if node.output in self._learns:
                self._backward(node)

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
                if node.residual is not None:
                    self._compute_map_again(node.output)
                self._compute_again(c)
                self._normalization_gradient(c, node.normalization)
                dz = c.before
            else:
                dz = self._gradients.pop(node.output)
            self._release(c.output)  # whoever reads it has had its way back
            if learns:
                self._compute_map_again(node.input)
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
            self._compute_map_again(c.node.input)
            self._place(c.before)
            self._convolve(c)

    def _compute_map_again(self, number: int) -> None:
        """Make the output of a convolution with its normalisation anew, if it was forgotten."""
        if id(self._maps[number]) in self._live:
            return
        maker = self._convolutions[number]
        residual, with_residual = maker.node.residual, {}
        if residual is not None:
            self._compute_map_again(residual)
            with_residual = maps_added(self._maps[residual])
        self._compute_again(maker)
        if maker.node.normalization is None:
            return
        # Over what the shortcut made: nothing else needs that.
        is_over_it = (
            residual is not None
            and residual not in self._kept_outputs
            and self._take_over(self._maps[residual], maker.output)
        )
        if not is_over_it:
            self._place(maker.output)
        low, high = BOUNDS[maker.node.activation]
        parts = self._parts(maker.before)
        if maker.kept is not None:
            parts["kept"] = maker.kept.ctypes.data
        self._add(
            maker.node.name, "normalise again", int(blocks_of(maker.out_channels) * parts["parts"]), "normalize_again",
            residual is not None, maker.kept is not None, **maps_read(maker.before), **maps_written(maker.output),
            **with_residual, **parts, statistics=maker.statistics, low=low, high=high,
        )  # fmt: skip
        if maker.kernel == 1 and 2 * maker.before.bytes >= max(m.bytes for m in self._maps.values()):
            self._release(maker.before)  # one of the largest, and quickly made once more
        if maker.node.drop_path is not None:
            self._forget_within(maker)

    def _forget_within(self, last: Contents) -> None:
        """Now that a residual layer has its output, let go of the maps in it, but not of normalisations' inputs."""
        nodes = self._graph.convolutions
        end = nodes.index(last.node)
        start = max((i + 1 for i in range(end) if nodes[i].drop_path is not None), default=0)
        for node in nodes[start:end]:
            if node.output not in self._kept_outputs:
                self._release(self._maps[node.output])

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
        # Where weights are packed: the two are never needed at the same time.
        sums = self._places.workspace("weights", parts * groups * blocks * len(places) * tile)
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
        phases = c.phases
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


def _gradient(m: Map) -> dict[str, float]:
    """The fields that say where a gradient lies."""
    return {
        "gradient": m.origin, "gradient_row": m.row, "gradient_plane": m.plane, "gradient_image": m.image
    }  # fmt: skip
