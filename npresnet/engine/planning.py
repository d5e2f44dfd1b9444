"""What is decided once the shape of the input is known: algorithms, borders, and a place in memory for every map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..shapes import output_shape
from .graph import Classifier, Convolution, Graph
from .layout import BLOCK, ELEMENT_BYTES, Map, Memory, blocks_of
from .store import SPREAD, WeightStore
from .winograd import KINDS, products_of

# Cycles, to choose an algorithm: for a vector of weights that comes from far away, and for the transforms of a tile's
# 16 channels, input and output together, by Winograd's m.
READING = 14
TRANSFORM = {4: 150, 2: 60}


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
class Products:
    """Where a convolution by Winograd's algorithm keeps its transformed tiles and their products."""

    tile: int  # outputs in a row of a tile
    rows: int  # of tiles in an image
    columns: int
    images: int
    input_batch: int  # bytes between the numbers of a tile
    output_batch: int
    inputs: int = 0  # addresses
    outputs: int = 0

    @property
    def tiles(self) -> int:
        return self.images * self.rows * self.columns


class Blueprint:
    """The decisions for one shape of input.

    Parameters
    ----------
    graph : Graph
    store : WeightStore
    shape : (N, C, H, W)
    winograd : bool
        Whether it may be chosen.

    Attributes
    ----------
    maps : {number: Map}
        Geometry and place of every feature map.
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

    def __init__(self, graph: Graph, store: WeightStore, shape: tuple[int, int, int, int], winograd: bool) -> None:
        self._graph, self._store = graph, store
        self.maps = self._geometry(shape)
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

    def _image(self, shape: tuple[int, int, int, int]) -> Image:
        n, channels, height, width = shape
        image = Image(channels, n, height, width, self.maps[0].element, zero=self.maps[0].zero)
        image.border = self._store.folded(self._graph.convolutions[0]).padding
        return image

    def _choose(self, node: Convolution, winograd: bool) -> str:
        """Count multiplications, transforms, and weights to be read."""
        folded, output = self._store.folded(node), self.maps[node.output]
        if node.input == 0:
            return "interleaved"
        geometry = (folded.kernel, folded.stride, folded.padding, folded.dilation, folded.groups)
        if not winograd or self._store.precision != "float32" or geometry != (3, 1, 1, 1, 1):
            return "blocked"
        inputs, outputs = blocks_of(folded.channels), blocks_of(folded.out_channels)
        weights = inputs * outputs * BLOCK  # vectors of 16
        best, choice = 9 * weights * (1.05 * output.images * output.height * output.width + READING), "blocked"
        for kind, tile in KINDS.items():
            tiles = output.images * -(-output.height // tile) * -(-output.width // tile)
            cost = products_of(tile) * weights * (1.2 * tiles + READING) + TRANSFORM[tile] * tiles * (inputs + outputs)
            if cost < best:
                best, choice = cost, kind
        if choice in KINDS:
            tile = KINDS[choice]
            rows, columns = -(-output.height // tile), -(-output.width // tile)
            input_batch, output_batch = (
                n * output.images * rows * columns * BLOCK * 4 + SPREAD for n in (inputs, outputs)
            )
            self.products[node.output] = Products(tile, rows, columns, output.images, input_batch, output_batch)
        return choice

    def _ask_for_border(self, node: Convolution) -> None:
        if node.input == 0:
            return
        source, products = self.maps[node.input], self.products.get(node.output)
        source.extend(self._store.folded(node).padding)
        if products:  # the last tiles may read beyond the border
            source.extend(1, products.rows * products.tile + 1, products.columns * products.tile + 1)

    def _place(self) -> NDArray[np.uint8]:
        """Give every map a place from the step that writes it to the last one that reads it."""
        last_use: dict[int, int] = {}
        for index, node in enumerate(self._graph.nodes):
            for number in node.reads:
                last_use[number] = index
        memory = Memory()
        image_place = memory.take(self.image.bytes, (0,))
        places: dict[int, int] = {}
        product_places: dict[int, tuple[int, int]] = {}
        for index, node in enumerate(self._graph.nodes):
            output = self.maps[node.output]
            places[node.output] = memory.take(output.bytes, output.geometry)
            if node.output in self.products:
                products = self.products[node.output]
                count = products_of(products.tile)
                sizes = (count * products.input_batch, count * products.output_batch)
                product_places[node.output] = (memory.take(sizes[0]), memory.take(sizes[1]))
                for place in product_places[node.output]:
                    memory.give_back(place)
            for number in [n for n, last in last_use.items() if last == index and n != 0]:
                memory.give_back(places[number])

        area, offsets = memory.allocate()
        start = area.ctypes.data
        self.image.base = start + offsets[image_place]
        for number, place in places.items():
            self.maps[number].base = start + offsets[place]
        for number, (inputs, outputs) in product_places.items():
            self.products[number].inputs = start + offsets[inputs]
            self.products[number].outputs = start + offsets[outputs]
        for m in [self.image, *(self.maps[number] for number in places)]:
            if m.zero and not m.bare:  # the border of an 8-bit map is what stands for zero
                area[m.base - start : m.base - start + m.bytes] = m.zero
        return area
