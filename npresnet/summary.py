"""``model.summary()``: output shapes, parameters and multiply-adds of a network, found without computing it.

Shapes are propagated from layer to layer: :mod:`npresnet.shapes` knows every leaf, and all that is built from leaves
passes its input through its children one after the other (a residual layer gives it to its shortcut as well).
"""

from __future__ import annotations

import dataclasses
import html
import math
import operator
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .blocks import ResidualLayer, ResNetEncoder
from .nn import Conv2d, Dropout, Identity, Linear, Module, Sequential
from .resnet import ResNetPreTrainedModel
from .shapes import Shape, TooSmall, output_shape

GROUPS = (ResNetPreTrainedModel, ResNetEncoder, Sequential)
"""Modules that only give their children a name: they have no row and no indentation of their own."""

DEFAULT_DEPTH = 2


class Row(NamedTuple):
    """One module of the table; its counts include everything below it."""

    name: str  # as in model.named_modules()
    level: int  # 1: stem, stages, head; 2: residual layers; 3: convolutions with their normalisation; 4: operations
    kind: str
    output_shape: Shape
    params: int
    buffers: int
    macs: int
    activations: int


COUNTS = Row._fields[4:]


@dataclass(frozen=True, repr=False)
class Summary:
    """The table of a network. Printing it, in a terminal or a notebook, shows ``rows`` and the totals.

    Attributes
    ----------
    model : str
        Class of the model.
    input_size : (C, H, W)
    all_rows : tuple of Row
        Every module that does something, in the order of the names of the state dict.
    frozen : int
        How many of the parameters :meth:`~npresnet.ResNetForImageClassification.freeze` keeps from learning.
    nbytes : int
        Memory of parameters and buffers.
    depth : int or None
        Levels that are shown: 1 stem, stages and head; 2 residual layers as well; 3 their convolutions; 4 or None
        every operation. The rest is folded into the row above.
    """

    model: str
    input_size: Shape
    all_rows: tuple[Row, ...]
    frozen: int
    nbytes: int
    depth: int | None = DEFAULT_DEPTH

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 1:
            raise ValueError(f"depth must be at least 1, or None for every operation, found {self.depth}")

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows down to ``depth``."""
        return tuple(row for row in self.all_rows if self.depth is None or row.level <= self.depth)

    @property
    def params(self) -> int:
        """Learned values."""
        return self._total("params")

    @property
    def buffers(self) -> int:
        """Values that are saved but not learned: running means and variances, and the BatchNorms' counters."""
        return self._total("buffers")

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers for one image, as published for torchvision's models."""
        return self._total("macs")

    @property
    def activations(self) -> int:
        """Values that convolutions and linear layers put out for one image (Radosavovic et al. 2020, timm)."""
        return self._total("activations")

    def _total(self, field: str) -> int:
        return sum(getattr(row, field) for row in self.all_rows if row.level == 1)

    def unfold(self, depth: int | None = None) -> Summary:
        """Return the same table at another depth; every operation by default."""
        return dataclasses.replace(self, depth=depth)

    def to_dict(self) -> dict[str, Any]:
        """Return totals and rows as plain values for JSON."""
        totals = ("model", "input_size", "params", "frozen", "buffers", "nbytes", "macs", "activations")
        values: dict[str, Any] = {name: getattr(self, name) for name in totals}
        values["input_size"] = list(self.input_size)
        values["rows"] = [row._asdict() | {"output_shape": list(row.output_shape)} for row in self.rows]
        return values

    def table(self, width: int | None = None) -> str:
        """Return the table as text.

        Parameters
        ----------
        width : int, optional
            Columns at hand, by default the terminal's. 80 are enough for everything; with fewer, the kind of module
            is left out, then the beginnings of the names. About 50 are needed.
        """
        if width is None:
            width = shutil.get_terminal_size().columns
        for kinds, full_names in ((True, True), (False, True), (False, False)):
            lines = _aligned(self._cells(kinds, full_names), left=2 if kinds else 1)
            if len(lines[0]) <= width:
                break
        rule = "-" * len(lines[0])
        body = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
        texts = (self._title(), *self._footer())
        title, *footer = (textwrap.fill(text, max(width, 20)) for text in texts)
        return "\n".join([title, "", *body, "", *footer])

    def _cells(self, kinds: bool, full_names: bool) -> list[list[str]]:
        """Heading, rows and total, as text."""
        lines = [["layer", "kind", "output", "parameters", "MMACs"]]
        for row, name in zip(self.rows, _relative_names(self.rows), strict=True):
            if not full_names:
                name = name.removeprefix("resnet.").removeprefix("encoder.")
            lines.append([
                "  " * (row.level - 1) + name, row.kind.removeprefix("ResNet"), by(row.output_shape),
                f"{row.params:,}", f"{row.macs / 1e6:,.2f}",
            ])  # fmt: skip
        lines.append(["total", "", "", f"{self.params:,}", f"{self.macs / 1e6:,.2f}"])
        return lines if kinds else [[line[0], *line[2:]] for line in lines]

    def _title(self) -> str:
        return f"{self.model}, input {by(self.input_size)}"

    def _footer(self) -> list[str]:
        frozen = f" ({self.frozen:,} frozen)" if self.frozen else ""
        return [
            f"{self.params:,} parameters{frozen}, {self.buffers:,} buffers, {in_units(self.nbytes)}B",
            f"{in_units(self.macs)}MACs, {in_units(self.activations)} activations for one image",
        ]

    def __str__(self) -> str:
        return self.table()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The table for a notebook."""
        heading, *lines, total = self._cells(kinds=True, full_names=True)
        parts = [_html_row(heading, "th", 0)]
        parts += [_html_row(line, "td", row.level - 1) for row, line in zip(self.rows, lines, strict=True)]
        parts.append(_html_row(total, "th", 0))
        title, *footer = (f"<p>{html.escape(text)}</p>" for text in (self._title(), *self._footer()))
        return "\n".join([f"<div>{title}<table>", *parts, f"</table>{''.join(footer)}</div>"])


def summarize(
    model: ResNetPreTrainedModel, input_size: Sequence[int] | None = None, depth: int | None = DEFAULT_DEPTH
) -> Summary:
    """Return the table of a model's modules; nothing is computed but the shapes.

    Parameters
    ----------
    model : ResNetForImageClassification, ResNetModel or ResNetBackbone
    input_size : (C, H, W), optional
        Of one image; by default what the model's processor makes of a picture.
    depth : int or None
        See :class:`Summary`.

    Raises
    ------
    ValueError
        If the input size is not three positive integers, has another number of channels than the model, or is too
        small for a layer.
    """
    size = default_input_size(model) if input_size is None else _checked(input_size, model.config.num_channels)
    try:
        rows, _ = _walk(model, "", size, 1)
    except TooSmall as error:
        raise ValueError(f"input_size {size} is too small for this network: {error}; use a larger image") from None
    arrays = [*(parameter.peek() for parameter in model.parameters()), *(buffer for _, buffer in model.named_buffers())]
    frozen = sum(parameter.size for parameter in model.parameters() if not parameter.requires_grad)
    return Summary(type(model).__name__, size, tuple(rows), frozen, sum(array.nbytes for array in arrays), depth)


def default_input_size(model: ResNetPreTrainedModel) -> Shape:
    """What the model's processor makes of a picture, (C, H, W); the family's usual size where it leaves that open."""
    channels = model.config.num_channels
    side = 32 if model.config.stem_type == "cifar" else 224
    if not model._takes_pictures:  # then it has no processor
        return channels, side, side
    processor = model.processor
    if processor.crop_size is not None:
        return channels, processor.crop_size["height"], processor.crop_size["width"]
    if processor.do_resize:
        edge = processor.size.get("shortest_edge", side)
        return channels, processor.size.get("height", edge), processor.size.get("width", edge)
    return channels, side, side


def _checked(input_size: Sequence[int], channels: int) -> Shape:
    try:
        size = tuple(operator.index(n) for n in input_size)
    except TypeError:
        size = ()
    if len(size) != 3 or min(size) < 1:
        raise ValueError(
            f"input_size must be (channels, height, width), three positive integers without the batch, "
            f"found {input_size!r}"
        )
    if size[0] != channels:
        raise ValueError(
            f"input_size {size} has {size[0]} channels but the model was configured for num_channels={channels}; "
            f"pass ({channels}, {size[1]}, {size[2]})"
        )
    return size


# ------------------------------------------------------------------------------------------------------ propagation


def _walk(module: Module, name: str, shape: Shape, level: int) -> tuple[list[Row], Shape]:
    """Return the rows of a module and of all below it, and the shape of its output for an input of ``shape``."""
    is_group = isinstance(module, GROUPS)
    below = level if is_group else level + 1
    children = list(module.children())
    rows: list[Row] = []
    output = shape
    for child_name, child in children:
        beside = isinstance(module, ResidualLayer) and child is module.shortcut
        child_path = f"{name}.{child_name}" if name else child_name
        child_rows, child_output = _walk(child, child_path, shape if beside else output, below)
        rows += child_rows
        output = output if beside else child_output
    if is_group:
        return rows, output
    if not children:
        try:
            output = output_shape(module, shape)
        except TooSmall as error:
            raise TooSmall(f"{name} has an input of {by(shape)}, but {error}") from None
        if _does_nothing(module):
            return [], output
        counts = _counts(module, output)
    else:
        parts = [row for row in rows if row.level == below]
        counts = [sum(getattr(part, field) for part in parts) for field in COUNTS]
    return [Row(name, level, type(module).__name__, output, *counts), *rows], output


def _counts(module: Module, output: Shape) -> list[int]:
    """The last fields of a :class:`Row`, for a module without children."""
    params = sum(parameter.size for parameter in module.parameters())
    buffers = sum(buffer.size for _, buffer in module.named_buffers())
    if not isinstance(module, (Conv2d, Linear)):  # normalisation, activations, pools and sums count as free
        return [params, buffers, 0, 0]
    pixels = math.prod(output[1:])
    return [params, buffers, module.weight.size * pixels, output[0] * pixels]


def _does_nothing(module: Module) -> bool:
    return isinstance(module, Identity) or (isinstance(module, Dropout) and module.rate == 0)


# ------------------------------------------------------------------------------------------------------------- text


def by(shape: Shape) -> str:
    """``3 x 224 x 224``."""
    return " x ".join(map(str, shape))


def in_units(count: int) -> str:
    """``1.814 G``: three decimals of thousands (K), millions (M) or thousands of millions (G)."""
    unit, factor = next(((u, f) for u, f in (("G", 1e9), ("M", 1e6)) if count >= f), ("K", 1e3))
    return f"{count / factor:,.3f} {unit}"


def _relative_names(rows: Iterable[Row]) -> list[str]:
    """Names without that of the row above, one level up."""
    names, path = [], [""]
    for row in rows:
        del path[row.level :]
        names.append(row.name.removeprefix(path[-1]))
        path.append(row.name + ".")
    return names


def _aligned(lines: list[list[str]], left: int) -> list[str]:
    """Pad the columns: text (the first ``left`` ones) on the right, the others on the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def _html_row(cells: list[str], tag: str, indent: int) -> str:
    styles = [f"text-align:left;padding-left:{0.5 + 1.5 * indent}em", "text-align:left", *["text-align:right"] * 3]
    return "<tr>" + "".join(
        f'<{tag} style="{style}">{html.escape(cell.strip())}</{tag}>' for cell, style in zip(cells, styles, strict=True)
    ) + "</tr>"  # fmt: skip
