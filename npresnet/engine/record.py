"""What Python and the compiled code agree on.

A step of a program is a row of 64-bit integers, read by name on both sides. The arguments of all compiled functions are
64-bit integers too: addresses, distances in bytes, counts.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .code import Function, Value

FIELDS = (
    # of every step
    "task",  # address of the function that does one task
    "tasks",  # how many tasks there are
    # addresses of data
    "input", "weights", "output", "residual", "bias",
    # distances in bytes: to the next row of pixels, block of 16 channels, image, product of a batch of products
    "input_row", "output_row", "residual_row",
    "input_plane", "output_plane", "residual_plane",
    "input_image", "output_image", "residual_image",
    "input_batch", "output_batch",
    "weight_plane", "weight_entry", "bias_plane",
    "weight_products",  # address of a table: from the first weights to those of each product of the batch
    # sizes
    "images", "channels", "height", "width", "out_height", "out_width",
    # of a pool's window
    "stride", "padding", "counts_padding",
    # of a convolution: its kernel, tiles of pixels, groups of output blocks, and the table of the reduction
    "kernel", "input_tiles", "output_tiles", "residual_tiles", "tiles", "tiles_per_task", "tile_sums",
    "groups", "groups_per_task", "group_blocks", "group_inputs", "table", "entries", "chunk",
    # of Winograd's transforms
    "tile_rows", "tile_columns", "rows_per_task",
    # numbers in float32
    "low", "high", "residual_scale", "scale", "zero",
    # of the training step: normalisation with its statistics, gradients, packing
    "gamma", "beta", "kept", "running_mean", "running_var", "statistics", "partials", "parts", "images_per_part",
    "eps", "momentum", "gamma_gradient", "beta_gradient", "accumulate", "accumulate_beta",
    "gradient", "gradient_row", "gradient_plane", "gradient_image", "index",
    "lane_stride", "channel_stride", "channels_per_task", "out_channels", "lines", "input_lines", "gradient_lines",
    "lines_per_part", "taps", "tap_places",
)  # fmt: skip
SIZE = 96  # integers in a row

RUN_ARGUMENTS = ("program", "steps", "counters", "scratch", "give_way")
COUNTER_BYTES = 128  # two cache lines for each step, so that the counters of threads do not disturb each other
TASK_ARGUMENTS = ("row", "task", "scratch")
KERNEL_ARGUMENTS = ("row", "input", "weights", "output", "residual", "bias", "sums", "table", "count", "flags")
FIRST, LAST = 1, 2  # flags: this call sums the first part of the table, the last part
assert len(FIELDS) <= SIZE
_INDEX = {name: index for index, name in enumerate(FIELDS)}


class KernelShape(NamedTuple):
    """Which micro-kernel: its number format and the constants that are compiled into it."""

    precision: str
    rows: int  # pixels of a tile
    vectors: int  # blocks of 16 output channels
    step: int  # bytes between the inputs of neighbouring output pixels
    depth: int  # vector steps for each entry of the table
    plain: bool = False  # the output is float32, whatever the precision
    bounded: bool = False  # the activation has an upper bound
    spread: int = 1  # pixels from an output to the next

    @property
    def name(self) -> str:
        """The name of the function, which is also the key of its code in the cache."""
        options = "_plain" * self.plain + "_bounded" * self.bounded + f"_spread{self.spread}" * (self.spread != 1)
        return f"tile_{self.precision}_{self.rows}x{self.vectors}_step{self.step}_depth{self.depth}{options}"


def make(**values: float) -> NDArray[np.int64]:
    """Return a row with these fields; floats are kept as float32."""
    row = np.zeros(SIZE, np.int64)
    for name, value in values.items():
        if isinstance(value, float):
            value = struct.unpack("<i", struct.pack("<f", value))[0]
        row[_INDEX[name]] = value
    return row


def index(name: str) -> int:
    """Return the place of a field in a row."""
    return _INDEX[name]


class Fields:
    """Reads the fields of the row at an address: ``fields["input"]``, and ``fields.number("low")`` for floats."""

    def __init__(self, code: Function, address: Value) -> None:
        self._code, self._address = code, address

    def __getitem__(self, name: str) -> Value:
        from .code import I64

        return self._code.load(I64, self._address + 8 * _INDEX[name])

    def number(self, name: str) -> Value:
        """Read a float32 field."""
        from .code import F32

        return self._code.load(F32, self._address + 8 * _INDEX[name])
