"""What is decided once the shape of the input is known: algorithms, borders, and a place in memory for every map.

A large batch goes through the network in groups of images: as many at a time as have maps that stay in the cache. Early
maps are large, so there it is one image after the other; later ones are small, and a larger group reads the weights
less often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..shapes import output_shape
from .graph import Classifier, Convolution, Graph, Node, Ordinary
from .layout import BLOCK, ELEMENT_BYTES, Map, Memory, blocks_of
from .store import SPREAD, WeightStore
from .target import Target
from .tiling import tile_shape
from .winograd import KINDS, Form

# Cycles, to choose an algorithm: for a vector of weights that comes from far away, and for the transforms of a tile's
# 16 channels, input and output together, by Winograd's m and the stride.
READING = 14
TRANSFORM = {(4, 1): 150, (2, 1): 60, (4, 2): 300, (2, 2): 90}
WORKING_SET = 4 << 20  # bytes of a map that may be in work at a time


@dataclass
class Image(Map):
    """The input, with its few channels side by side instead of blocks of 16."""

    @property
    def pixel(self) -> int:
        return self.channels * self.element

    @property
    def bytes(self) -> int:
        return self.plane


@dataclass
class Section:
    """Nodes that a group of images goes through before the next group follows."""

    nodes: list[Node]
    groups: list[tuple[int, int]]  # first image, and how many

    @property
    def images(self) -> int:
        """Of the largest group."""
        return max(count for _, count in self.groups)


@dataclass
class Products:
    """Where a convolution by Winograd's algorithm keeps its transformed tiles and their products."""

    form: Form
    rows: int  # of tiles in an image
    columns: int
    input_batch: int  # bytes between the numbers of a tile
    output_batch: int
    inputs: int = 0  # addresses
    outputs: int = 0

    @property
    def bytes(self) -> int:
        return self.form.products * (self.input_batch + self.output_batch)


class Tiling(NamedTuple):
    """How the pixels of a direct convolution are cut."""

    flat: bool  # all pixels of a map are one row, because nothing lies between its rows
    width: int  # pixels in a row
    rows: int  # and of a tile
    vectors: int  # blocks of outputs of a tile


class Blueprint:
    """The decisions for one shape of input.

    Parameters
    ----------
    graph : Graph
    store : WeightStore
    shape : (N, C, H, W)
    winograd : bool
        Whether it may be chosen.
    target : Target
        The processor.

    Attributes
    ----------
    sections : list of Section
        In order.
    shape : (N, C, H, W)
    rows_of_images : set
        Numbers of the maps whose pixels are the images.
    maps : {number: Map}
        Geometry and place of every feature map; those used within a section hold one group of images.
    image : Image
        The input as the first convolution reads it.
    kinds : {number: str}
        For the output of every convolution: ``blocked`` or ``interleaved`` inputs, or one of Winograd's.
    products : {number: Products}
        For those by Winograd's algorithm.
    memory : array of bytes
        Holds all of it.

    Raises
    ------
    TooSmall
        If the image is too small for the network.
    """

    def __init__(
        self, graph: Graph, store: WeightStore, shape: tuple[int, int, int, int], winograd: bool, target: Target
    ) -> None:
        self._graph, self._store, self._target, self.shape = graph, store, target, shape
        self.rows_of_images = {graph.pooled, graph.logits}
        self.maps = self._geometry(shape)
        self.sections = self._sections(shape[0])
        self.image = self._image(shape)
        self.products: dict[int, Products] = {}
        self.kinds = {node.output: self._choose(node, winograd) for node in graph.convolutions}
        for node in graph.convolutions:
            self._ask_for_border(node)
        self.memory = self._place()

    def _geometry(self, shape: tuple[int, int, int, int]) -> dict[int, Map]:
        graph, element = self._graph, ELEMENT_BYTES[self._store.precision]
        n = shape[0]
        shapes: dict[int, tuple[int, ...]] = {0: shape[1:]}
        maps = {0: Map(shape[1], n, shape[2], shape[3], element)}
        for node in graph.nodes:
            before = shapes[node.input][:1] if isinstance(node, Classifier) else shapes[node.input]
            shapes[node.output] = after = output_shape(node.layer, before)
            if node.output in (graph.pooled, graph.logits):  # the images are the pixels of one row
                maps[node.output] = Map(after[0], 1, 1, n, 4 if node.output == graph.logits else element)
            else:
                maps[node.output] = Map(after[0], n, after[1], after[2], element)
        for number, quantized in self._store.maps.items():
            maps[number].zero = quantized.zero
        return maps

    def _sections(self, n: int) -> list[Section]:
        """Cut the graph where another number of images fits the cache, and let maps hold no more than needed."""
        graph = self._graph
        stage_of, stage = {}, 0
        for node in graph.nodes:
            is_head = node.output in (graph.pooled, graph.logits)
            stage_of[node.output] = len(graph.states) if is_head else stage
            if stage < len(graph.states) and node.output == graph.states[stage]:
                stage += 1
        largest: dict[int, int] = {}  # bytes of an image in the maps of each stage
        for number, stage in stage_of.items():
            largest[stage] = max(largest.get(stage, 1), self.maps[number].bytes // self.maps[number].images)
        largest[len(graph.states)] = 1  # the head takes all images at once
        if any(isinstance(node, Ordinary) for node in graph.nodes):
            largest = dict.fromkeys(largest, 1)  # and so do modules that run as they are

        sections: list[Section] = []
        section_of: dict[int, int] = {}
        for node in graph.nodes:
            groups = divide(n, max(1, WORKING_SET // largest[stage_of[node.output]]))
            if not sections or groups != sections[-1].groups:
                sections.append(Section([], groups))
            sections[-1].nodes.append(node)
            section_of[node.output] = len(sections) - 1
        for node in graph.nodes:
            own = section_of[node.output]
            leaves = any(node.output in other.reads and section_of[other.output] != own for other in graph.nodes)
            if not leaves and node.output not in (graph.pooled, graph.logits):
                self.maps[node.output].images = sections[own].images
        return sections

    def _image(self, shape: tuple[int, int, int, int]) -> Image:
        _, channels, height, width = shape
        image = Image(channels, self.sections[0].images, height, width, self.maps[0].element, zero=self.maps[0].zero)
        image.border = self._store.folded(self._graph.convolutions[0]).padding
        return image

    def _choose(self, node: Convolution, winograd: bool) -> str:
        folded, output = self._store.folded(node), self.maps[node.output]
        if node.input == 0:
            return "interleaved"
        geometry = (folded.kernel, folded.padding, folded.dilation, folded.groups)
        if not winograd or self._store.precision == "int8" or geometry != (3, 1, 1, 1):
            return "blocked"
        inputs, outputs = blocks_of(folded.channels), blocks_of(folded.out_channels)
        images = next(section.images for section in self.sections if node in section.nodes)
        together = 4 // ELEMENT_BYTES[self._store.precision]
        choice = fastest_kind(inputs, outputs, folded.stride, images, output.height, output.width, together)
        if choice in KINDS:
            form = KINDS[choice]
            rows, columns = -(-output.height // form.tile), -(-output.width // form.tile)
            input_batch, output_batch = (n * images * rows * columns * BLOCK * 4 + SPREAD for n in (inputs, outputs))
            self.products[node.output] = Products(form, rows, columns, input_batch, output_batch)
        return choice

    def _ask_for_border(self, node: Convolution) -> None:
        if node.input == 0:
            return
        source, products = self.maps[node.input], self.products.get(node.output)
        source.extend(self._store.folded(node).padding)
        if products:  # the last tiles may read beyond the border
            output = self.maps[node.output]
            source.extend(1, *products.form.reach(output.height, output.width))

    def tiling(self, node: Convolution | Classifier, images: int) -> Tiling:
        """Return the tiles of a direct convolution of so many images."""
        folded, output = self._store.folded(node), self.maps[node.output]
        if node.output in self.rows_of_images:
            images = output.images
        touched = [node.input, node.output, getattr(node, "residual", None)]
        bare = all(self.maps[number].bare for number in touched if number is not None)
        flat = (folded.kernel, folded.stride) == (1, 1) and node.input != 0 and bare
        width = images * output.height * output.width if flat else output.width
        blocks = math.gcd(folded.span, blocks_of(folded.out_channels))
        return Tiling(flat, width, *tile_shape(self._target, width, blocks))

    def _may_replace_residual(self, node: Node, section: Section) -> bool:
        """Whether a convolution may write its output over the residual that it adds.

        Then only half as much memory goes through the cache. Every pixel must be computed once, not in two tiles.
        """
        number = getattr(node, "residual", None)
        if not isinstance(node, Convolution) or number is None or number == node.input:
            return False
        residual, output = self.maps[number], self.maps[node.output]
        if (residual.geometry, residual.bytes) != (output.geometry, output.bytes):
            return False
        tilings = [self.tiling(node, images) for _, images in section.groups]
        return node.output in self.products or all(tiling.width % tiling.rows == 0 for tiling in tilings)

    def _place(self) -> NDArray[np.uint8]:
        """Give every map a place from the step that writes it to the last one that reads it.

        A section is run through several times. So what comes from another section stays until the last time, and what
        leaves for another section has a place from the first.
        """
        memory = Memory()
        image_place = memory.take(self.image.bytes, (0,))
        workspace = memory.take(max([p.bytes for p in self.products.values()], default=0), (1,))
        places: dict[int, int] = {}
        ends = self._last_reader()
        for section in self.sections:
            inside = {node.output for node in section.nodes}
            kept = {number for number in inside if ends.get(number) not in inside}  # or never read
            for number in sorted(kept):
                places[number] = memory.take(self.maps[number].bytes, self.maps[number].geometry)
            for node in section.nodes:
                output = self.maps[node.output]
                ended = {number for number in node.reads if number in inside - kept and ends[number] == node.output}
                residual = getattr(node, "residual", None)
                if node.output not in places and residual in ended and self._may_replace_residual(node, section):
                    places[node.output] = places[residual]
                    ended.remove(residual)
                elif node.output not in places:
                    places[node.output] = memory.take(output.bytes, output.geometry)
                for number in ended:
                    memory.give_back(places[number])
            for number in set(places) - inside:
                if ends.get(number) in inside:
                    memory.give_back(places[number])

        area, offsets = memory.allocate()
        start = area.ctypes.data
        self.image.base = start + offsets[image_place]
        for number, place in places.items():
            self.maps[number].base = start + offsets[place]
        for products in self.products.values():  # all in one place, which is still in the cache from the one before
            products.inputs = start + offsets[workspace]
            products.outputs = products.inputs + products.form.products * products.input_batch
        for m in [self.image, *(self.maps[number] for number in places)]:
            if m.zero and not m.bare:  # the border of an 8-bit map is what stands for zero
                area[m.base - start : m.base - start + m.bytes] = m.zero
        return area

    def _last_reader(self) -> dict[int, int]:
        """For every map that is read, the output of the last node that does."""
        return {number: node.output for node in self._graph.nodes for number in node.reads}


def fastest_kind(
    inputs: int, outputs: int, stride: int, images: int, height: int, width: int, together: int = 1
) -> str:
    """Choose the algorithm of a 3x3 convolution: count multiplications, transforms, and weights to be read.

    Parameters
    ----------
    inputs, outputs : int
        Blocks of channels.
    images, height, width : int
        Of the output.
    together : int
        Products that a direct convolution sums in one instruction; Winograd's are always float32.
    """
    weights = inputs * outputs * BLOCK  # vectors of 16
    best, choice = 9 * weights * (1.05 * images * height * width + READING) / together, "blocked"
    for kind, form in KINDS.items():
        tiles = images * -(-height // form.tile) * -(-width // form.tile)
        cost = weights * (1.2 * tiles * form.products + READING * len(set(form.kernels)))
        cost += TRANSFORM[form] * tiles * (inputs + outputs)
        if form.stride == stride and cost < best:
            best, choice = cost, kind
    return choice


def divide(images: int, at_once: int) -> list[tuple[int, int]]:
    """Cut a batch into groups of nearly the same size: (first image, how many)."""
    groups = -(-images // at_once)
    ends = [images * (number + 1) // groups for number in range(groups)]
    return [(start, end - start) for start, end in zip([0, *ends], ends, strict=False)]
