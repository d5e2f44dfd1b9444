"""A model compiled for inference: programs for the shapes that come, and the weights that they share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.parallel import num_threads as default_threads
from ..shapes import TooSmall
from .fingerprint import Fingerprint
from .graph import Graph
from .machine import machine_for
from .program import Program, exclusively
from .quantize import calibrate
from .store import WeightStore
from .target import Target, find_target

Array = NDArray[np.floating]

PROGRAMS = 4  # kept: one for each shape of input and choice of outputs
CALIBRATION = 16  # images of the first call, for int8
PIXELS = 16 * 224 * 224  # of a batch that runs at once; a larger batch is cut, so that memory stays within bounds


class Plan:
    """A compiled model. Call it with pixel values, as the model.

    Made by ``model.compile()``. It may be called from several threads; the calls take turns, because each uses all
    cores.

    Parameters
    ----------
    model : ResNetPreTrainedModel
        The model, which turns feature maps into its outputs.
    graph : callable
        Makes the :class:`Graph` of the model as it is now.
    precision : {"float32", "bfloat16", "int8"}
    winograd : bool
        Allow Winograd's algorithm where it is faster; its rounding errors are up to four times those of the direct one.
    num_threads : int, optional
    calibration : (N, C, H, W), optional
        Pixel values like those to come, for int8: they tell how large the numbers of each map become. By default the
        first that are passed.
    target : Target, optional
        A part of the processor, for comparison.

    Attributes
    ----------
    precision, winograd, num_threads, target

    Raises
    ------
    ValueError
        For an unknown precision, or one that this processor has no instructions for.
    """

    def __init__(
        self,
        model: Any,
        graph: Callable[[], Graph],
        precision: str = "float32",
        winograd: bool = True,
        num_threads: int | None = None,
        calibration: Array | None = None,
        target: Target | None = None,
    ) -> None:
        self.target = target or find_target()
        if precision not in ("float32", "bfloat16", "int8"):
            raise ValueError(f"precision {precision!r} is not known; choose float32, bfloat16 or int8")
        if precision == "bfloat16" and not self.target.has_bf16:
            raise ValueError(
                f"this processor ({self.target.cpu}, {self.target.level}) has no bfloat16 arithmetic; "
                "use precision='float32' or 'int8'"
            )
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, found {num_threads}")
        self.precision, self.winograd = precision, winograd
        self.num_threads = num_threads or default_threads()
        self._model, self._make_graph, self._calibration = model, graph, calibration
        self._machine = machine_for(self.target)
        self._programs: OrderedDict[Any, Program] = OrderedDict()
        self._last: Program | None = None
        self._refresh()

    # -------------------------------------------------------------------------------------------------------- calling

    def __call__(self, pixel_values: Array, *arguments: Any, **keywords: Any) -> Any:
        """Compute what the model computes in evaluation mode.

        Parameters
        ----------
        pixel_values : (N, C, H, W) float32
        output_hidden_states, return_dict : bool, optional
            As for the model.

        Returns
        -------
        The model's output, with the same fields.
        """
        return self._model._from_plan(self, pixel_values, *arguments, **keywords)

    def run(self, pixel_values: Array, wanted: Iterable[int]) -> dict[int, Array] | None:
        """Return some of the graph's maps by number, or None where the compiled path cannot compute them.

        That is: other numbers than float32, another number of channels, or an image that is too small. The ordinary
        path then computes the result, or says what is wrong.
        """
        x = np.asarray(pixel_values)
        if x.dtype != np.float32 or x.ndim != 4 or x.shape[1] != self.channels[0] or not x.size:
            return None
        if not self._is_covered:
            return None
        x = np.ascontiguousarray(x)
        numbers = frozenset(wanted)
        at_once = max(1, PIXELS // (x.shape[2] * x.shape[3]))
        try:
            with exclusively():
                if self._store is None:
                    self._calibrate(x[:CALIBRATION])
                parts = [
                    self._program((len(part), *x.shape[1:]), numbers).run(part)
                    for part in (x[start : start + at_once] for start in range(0, len(x), at_once))
                ]
        except TooSmall:
            return None
        if len(parts) == 1:
            return parts[0]
        return {number: np.concatenate([part[number] for part in parts]) for number in numbers}

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Make the program for a shape of input (N, C, H, W), so that the first call need not."""
        with exclusively():
            if self._is_covered and self._store is not None:
                self._program(shape, frozenset({self._graph.end}))

    @property
    def graph(self) -> Graph:
        """What is computed, with the weights as they are now."""
        with exclusively():
            if not self._is_current():
                self._refresh()
            return self._graph

    def _program(self, shape: Any, wanted: frozenset[int]) -> Program:
        key = (shape, wanted)
        assert self._store is not None
        program = self._programs.pop(key, None)
        if program is None:
            program = Program(self._graph, self._machine, self._store, shape, wanted, self.winograd, self.num_threads)
        self._programs[key] = program  # the most recent one is last
        while len(self._programs) > PROGRAMS:
            self._programs.popitem(last=False)
        self._last = program
        return program

    # ------------------------------------------------------------------------------------------------ changed weights

    def _arrays(self) -> list[NDArray[Any]]:
        return [array for array in self._model._arrays().values() if np.issubdtype(array.dtype, np.floating)]

    def _is_current(self) -> bool:
        return self._model.config is self._config and self._fingerprint is not None and self._fingerprint.matches()

    def _refresh(self) -> None:
        """Read the weights anew."""
        arrays, self._config = self._arrays(), self._model.config
        self._all_float32 = all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays)
        self._fingerprint = Fingerprint(self._machine, self._model) if self._all_float32 else None
        self._graph = self._make_graph()
        self._is_covered = self._all_float32 and self._graph.is_covered
        self.channels = self._graph.channels
        self._programs.clear()
        self._store: WeightStore | None = None
        if self.precision != "int8":
            self._store = WeightStore(self.precision, self.channels)
        elif self._calibration is not None and self._is_covered:
            self._calibrate(self._calibration)

    def _calibrate(self, images: Array) -> None:
        images = np.ascontiguousarray(images, np.float32)
        if images.ndim != 4 or images.shape[1] != self.channels[0] or not images.size:
            raise ValueError(
                f"calibration needs pixel values of shape (N, {self.channels[0]}, H, W), found {images.shape}"
            )
        maps = calibrate(self._graph, self._machine, images, self.num_threads)
        self._store = WeightStore(self.precision, self.channels, maps)

    # -------------------------------------------------------------------------------------------------------- looking

    def profile(self, pixel_values: Array, repeats: int = 5) -> str:
        """Time every step on these pixel values, and return :meth:`describe`."""
        x = np.ascontiguousarray(pixel_values, np.float32)
        self.run(x, [self.graph.end])
        program = self._program(x.shape, frozenset({self.graph.end}))
        program.profile(x, repeats)
        return self.describe()

    def describe(self) -> str:
        """Return a table: which layer runs how, its multiply-adds, and after :meth:`profile` its time."""
        head = (
            f"{self.precision} on {self.target.cpu} ({self.target.level}), {self.num_threads} threads, "
            f"weights {self._store.bytes / 1e6 if self._store else 0:.1f} MB"
        )
        if not self._is_covered:
            return (
                f"{head}\neverything runs on the ordinary path: the model is not in float32, or has a head not covered"
            )
        if self._last is None:
            return f"{head}\nno program yet: call the plan, or compile(batch=...)"
        program = self._last
        rows = [("layer", "how", "MMACs", "ms", "GFLOP/s")]
        for step in program.steps:
            time = f"{step.milliseconds:.3f}" if step.milliseconds else ""
            rate = f"{2e-6 * step.macs / step.milliseconds:.0f}" if step.milliseconds and step.macs else ""
            rows.append((step.name, step.how, f"{step.macs / 1e6:.1f}" if step.macs else "", time, rate))
        for name in program.ordinary:
            rows.append((name, "ordinary path (NumPy)", "", "", ""))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        shape = " x ".join(map(str, program.shape))
        return "\n".join([head, f"input {shape}, maps {program.memory_bytes / 1e6:.1f} MB", "", *lines])
