"""What all optimisers share: parameters with their state, checks, and the state as arrays by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...nn import Parameter
from ..checks import check_not_negative, check_state
from ..groups import ParameterGroup
from ..pieces import Rows, cut, for_each_piece

Array = NDArray[np.floating]


@dataclass
class Entry:
    """One parameter, with all that an optimiser knows about it."""

    name: str
    parameter: Parameter
    group: ParameterGroup
    state: dict[str, Array]  # arrays of the parameter's shape and dtype
    steps: int = 0  # in which the parameter had a gradient


@dataclass
class Piece:
    """Some rows of a parameter and of what belongs to it, to be changed in place."""

    entry: Entry
    data: Array
    grad: Array
    state: dict[str, Array]


class Optimizer:
    """Base class of the optimisers.

    Parameters
    ----------
    groups : list of ParameterGroup
        See :func:`~npresnet.train.parameter_groups`. No parameter may be in two of them.

    Attributes
    ----------
    groups : list of ParameterGroup
    step_count : int
        Calls of :meth:`step`.

    Raises
    ------
    ValueError
        If there is no parameter, a parameter or a name occurs twice, or a hyper-parameter is out of range.
    """

    slots: tuple[str, ...] = ()  # names of the state arrays, PyTorch's
    counts_steps: ClassVar[bool] = False  # whether the formula asks how often a parameter was updated

    def __init__(self, groups: Iterable[ParameterGroup]) -> None:
        self.groups: list[ParameterGroup] = []
        self.step_count = 0
        self._entries: dict[str, Entry] = {}
        if not isinstance(groups, Iterable):
            raise TypeError(f"groups must be a list of ParameterGroup, found {groups!r}; use parameter_groups(model)")
        for group in groups:
            self.add_group(group)
        if not self._entries:
            raise ValueError("an optimiser needs at least one parameter")

    def add_group(self, group: ParameterGroup) -> None:
        """Take further parameters, with a fresh state: for layers that are unfrozen during training."""
        if not isinstance(group, ParameterGroup):
            raise TypeError(f"groups must be a list of ParameterGroup, found {group!r}; use parameter_groups(model)")
        known = {id(entry.parameter) for entry in self._entries.values()}
        new: dict[str, Entry] = {}
        for name, parameter in zip(group.names, group.parameters, strict=True):
            if name in self._entries or name in new or id(parameter) in known:
                raise ValueError(f"parameter {name!r} is in the groups twice; put each into one group")
            if not np.issubdtype(parameter.dtype, np.floating):
                raise ValueError(f"parameter {name!r} has dtype {parameter.dtype}, expected float32 or float64")
            known.add(id(parameter))
            new[name] = Entry(name, parameter, group, self._fresh_state(parameter))
        self._entries.update(new)
        self.groups.append(group)

    def _fresh_state(self, parameter: Parameter) -> dict[str, Array]:
        return {slot: np.zeros(parameter.shape, parameter.dtype) for slot in self.slots}

    # ------------------------------------------------------------------------------------------------------- stepping

    def step(self, lr: float) -> None:
        """Change every parameter that has a gradient, in place; frozen ones and those without one are left alone.

        Parameters
        ----------
        lr : float
            The learning rate of this step, before the ``lr_scale`` of each group.

        Raises
        ------
        ValueError
            If the rate is negative or not finite, or a gradient does not have its parameter's shape and dtype; nothing
            is changed then.
        """
        lr = check_not_negative("the learning rate", lr)
        entries = [e for e in self._entries.values() if e.parameter.requires_grad and e.parameter.grad is not None]
        for entry in entries:
            _check(entry)
        for entry in entries:
            entry.steps += 1
            data = entry.parameter.data
            # Another view of the same memory. A compiled plan looks whether its arrays are still the same ones before
            # it looks into them, so it notices even a step that changes a single number.
            entry.parameter.data = data[...] if data.flags.writeable else data.copy()
        self._update(entries, lr)
        self.step_count += 1

    def _update(self, entries: Sequence[Entry], lr: float) -> None:
        """Change parameters and state; to be written by each optimiser."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters in the groups."""
        for entry in self._entries.values():
            entry.parameter.grad = None

    # ---------------------------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that a later step depends on, beside parameters and hyper-parameters.

        Returns
        -------
        dict of name to array
            ``"step_count"``; for each parameter ``"momentum_buffer.NAME"`` or whatever the optimiser keeps, and, where
            its formula needs it, ``"step.NAME"``, how often the parameter was updated.
        """
        return {name: array.copy() for name, array in self._state_arrays().items()}

    def _state_arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {"step_count": np.array(self.step_count, np.int64)}
        for name, entry in self._entries.items():
            if self.counts_steps:
                arrays[f"step.{name}"] = np.array(entry.steps, np.int64)
            arrays.update({f"{slot}.{name}": array for slot, array in entry.state.items()})
        return arrays

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue where another optimiser of the same kind, for the same parameters, stopped.

        Raises
        ------
        ValueError
            If names, shapes or dtypes differ, so that the state belongs to another optimiser or to other parameters;
            nothing is changed then.
        """
        title = f"the state does not fit this {type(self).__name__} of {len(self._entries)} parameters"
        own = self._state_arrays()
        check_state(title, own, state)
        counts = {name: int(state[name]) for name, array in own.items() if array.dtype == np.int64}
        for name, count in counts.items():
            if count < 0:
                raise ValueError(f"{title}: {name} is {count}, expected a count")
        self.step_count = counts["step_count"]
        for name, entry in self._entries.items():
            entry.steps = counts.get(f"step.{name}", 0)
            for slot in entry.state:
                entry.state[slot] = np.array(state[f"{slot}.{name}"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._entries)} parameters in {len(self.groups)} groups)"


def for_each_piece_of(entries: Sequence[Entry], function: Callable[[Piece], Any]) -> list[tuple[Entry, Any]]:
    """Call a function for every piece of the parameters, on all threads; return its results with their parameters."""
    pieces = cut([entry.parameter.shape for entry in entries])

    def one(number: int, rows: Rows) -> Any:
        entry = entries[number]
        assert entry.parameter.grad is not None
        state = {slot: array[rows] for slot, array in entry.state.items()}
        return function(Piece(entry, entry.parameter.data[rows], entry.parameter.grad[rows], state))

    results = for_each_piece(pieces, one)
    return [(entries[number], result) for (number, _), result in zip(pieces, results, strict=True)]


def _check(entry: Entry) -> None:
    data, grad = entry.parameter.data, entry.parameter.grad
    assert grad is not None
    if (grad.shape, grad.dtype) != (data.shape, data.dtype):
        raise ValueError(
            f"the gradient of {entry.name} has shape {grad.shape} and dtype {grad.dtype}, expected those of the "
            f"parameter, {data.shape} and {data.dtype}"
        )
    for slot, array in entry.state.items():
        if (array.shape, array.dtype) != (data.shape, data.dtype):
            raise ValueError(
                f"{entry.name} has changed since the optimiser was made: {slot} has shape {array.shape} and dtype "
                f"{array.dtype}, the parameter {data.shape} and {data.dtype}; make a new optimiser"
            )
