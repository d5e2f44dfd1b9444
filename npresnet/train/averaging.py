"""An exponential average of the weights: often better than the last weights themselves (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn import Module, Parameter
from .checks import check_fraction, check_state
from .pieces import Rows, cut, for_each_piece, scratch

Array = NDArray[Any]


class ExponentialAverage:
    """Averages of all parameters and running statistics of a model.

    Each update moves them a little towards the model: ``average += (1 - decay) (value - average)``. Integers, the
    BatchNorms' counters, are copied.

    Parameters
    ----------
    model : Module
        The averages begin with its weights.
    decay : float
        In [0, 1); the average reaches back over about ``1 / (1 - decay)`` updates.
    warmup : bool
        Let the decay grow as ``(1 + updates) / (10 + updates)`` until it reaches ``decay``, so that the averages do
        not hold on to the random weights of the beginning.

    Attributes
    ----------
    updates : int
        Calls of :meth:`update`.

    Raises
    ------
    ValueError
        If ``decay`` is out of range.

    Examples
    --------
    >>> average = ExponentialAverage(model, decay=0.999)
    >>> average.update()  # after every step of the optimiser
    >>> with average.swapped():
    ...     model.save("averaged.npz")
    """

    def __init__(self, model: Module, decay: float, warmup: bool = True) -> None:
        self.model, self.decay, self.warmup = model, check_fraction("decay", decay), warmup
        self.updates = 0
        self._averages = {name: np.array(_peek(owner, key)) for name, owner, key in model._named_arrays()}
        self._is_swapped = False

    def update(self) -> None:
        """Move the averages towards the model as it is now."""
        self._refuse_while_swapped("update()")
        values = self._values()
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay
        learned = [name for name, value in values.items() if np.issubdtype(value.dtype, np.floating)]
        for name in values.keys() - set(learned):
            self._averages[name][...] = values[name]

        def move(number: int, rows: Rows) -> None:
            average, value = self._averages[learned[number]][rows], values[learned[number]][rows]
            difference = np.subtract(value, average, out=scratch(value))
            average += np.multiply(difference, 1 - decay, out=difference)

        for_each_piece(cut([values[name].shape for name in learned]), move)
        self.updates += 1

    @contextmanager
    def swapped(self) -> Iterator[Module]:
        """Put the averages into the model within this context, to evaluate or to save it; yields the model.

        Afterwards the model has the very arrays that it had before. Do not train within the context.
        """
        self._refuse_while_swapped("swapped()")
        self._values()
        places = [(name, owner, key) for name, owner, key in self.model._named_arrays()]
        before = [_get(owner, key) for _, owner, key in places]
        self._is_swapped = True
        try:
            for name, owner, key in places:
                _set(owner, key, self._averages[name][...])  # always another view: see Optimizer.step
            yield self.model
        finally:
            for (_, owner, key), value in zip(places, before, strict=True):
                _set(owner, key, value)
            self._is_swapped = False

    def state_dict(self) -> dict[str, Array]:
        """Return copies of ``"updates"`` and of every average, as ``"average.NAME"``."""
        return {name: array.copy() for name, array in self._state_arrays().items()}

    def _state_arrays(self) -> dict[str, Array]:
        averages = {f"average.{name}": array for name, array in self._averages.items()}
        return {"updates": np.array(self.updates, np.int64), **averages}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Continue where another average of the same network stopped.

        Raises
        ------
        ValueError
            If names, shapes or dtypes differ; nothing is changed then.
        """
        self._refuse_while_swapped("load_state_dict()")
        title = f"the state does not fit the averages of this {type(self.model).__name__}"
        check_state(title, self._state_arrays(), state)
        updates = int(state["updates"])
        if updates < 0:
            raise ValueError(f"{title}: updates is {updates}, expected a count")
        self.updates = updates
        self._averages = {name: np.array(state[f"average.{name}"]) for name in self._averages}

    def _values(self) -> dict[str, Array]:
        """The model's arrays by name, which must be those that are averaged."""
        values = {name: _peek(owner, key) for name, owner, key in self.model._named_arrays()}
        check_state("the model has changed since its average was begun; begin a new one", self._averages, values)
        return values

    def _refuse_while_swapped(self, call: str) -> None:
        if self._is_swapped:
            raise RuntimeError(f"the averages are in the model at the moment: leave swapped() before {call}")


def _peek(owner: Module, attribute: str) -> Array:
    """A parameter's or buffer's numbers, to look at."""
    value = getattr(owner, attribute)
    return value.peek() if isinstance(value, Parameter) else value


def _get(owner: Module, attribute: str) -> Array:
    """A parameter's or buffer's array, to be put back later."""
    value = getattr(owner, attribute)
    return value.data if isinstance(value, Parameter) else value


def _set(owner: Module, attribute: str, array: Array) -> None:
    value = getattr(owner, attribute)
    if isinstance(value, Parameter):
        value.data = array
    else:
        setattr(owner, attribute, array)
