"""Notice that weights have changed, without reading all of them at every call."""

from __future__ import annotations

import ctypes
from operator import is_
from typing import Any

import numpy as np

from ..nn import Module, Parameter
from .machine import Machine, native


class Fingerprint:
    """Remembers which modules and arrays a model has, and some numbers of each array that can be written.

    Loading and replacing change which they are, and training changes all numbers of most arrays, so it is enough to
    look at 32 of each, evenly spread. A single number that is changed in place by hand may not be noticed.

    Parameters
    ----------
    machine : Machine
    model : Module
        All its floating-point arrays are float32 and contiguous.
    """

    def __init__(self, machine: Machine, model: Module) -> None:
        # Everything is kept, so that nothing new can pass for it by taking its place in memory.
        self._attributes: list[tuple[dict[str, Any], str, Any]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._parameters: list[tuple[Parameter, Any]] = []
        arrays = []
        for _, module in model.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, (Module, Parameter, np.ndarray, list)) and name != "_cache":
                    self._attributes.append((vars(module), name, value))
                if isinstance(value, list):
                    self._lists.append((value, list(value)))
                elif isinstance(value, Parameter):
                    self._parameters.append((value, value.peek()))
                    arrays.append(value.peek())
                elif isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
                    arrays.append(value)
        places = [(array.ctypes.data, array.size) for array in arrays if array.flags.writeable]
        self._table = np.array(places, np.int64).reshape(-1, 2)
        self._arguments = (self._table.ctypes.data, len(self._table))
        self._hash = native(machine.function("fingerprint"), 3)
        self._seen = self._now()

    def _now(self) -> int:
        result = ctypes.c_int64()
        self._hash(*self._arguments, ctypes.addressof(result))
        return result.value

    def matches(self) -> bool:
        """Whether the model is as it was."""
        return (
            all(attributes.get(name) is value for attributes, name, value in self._attributes)
            and all(parameter.peek() is array for parameter, array in self._parameters)
            and all(len(items) == len(before) and all(map(is_, items, before)) for items, before in self._lists)
            and self._now() == self._seen
        )
