"""Run the script of a case: a few calls of the submission's functions, on named values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .protocol import Array, Frame, laid_out
from .values import Taken
from .words import described, error_fields


class Exit(Exception):
    """The submission asked to end the process."""


class Call:
    """One case, made ready to be called once.

    Parameters
    ----------
    frame : Frame
        The case: ``script`` (function, args, returns, options), ``values`` (plain ones), ``outputs`` (names), and
        arrays, those in dicts as ``name/key``.
    """

    def __init__(self, frame: Frame) -> None:
        self._script: list[tuple[str, list[str], list[str], list[tuple[str, str]]]] = frame.header["script"]
        self._outputs: list[str] = frame.header["outputs"]
        self._arrays: dict[str, Array] = {}  # as they were sent, to be looked at again after the call
        self._values = {name: _immutable(value) for name, value in frame.header["values"].items()}
        for name in frame.header["dicts"]:
            self._values[name] = {}
        for (name, array), description in zip(frame.arrays(), frame.header["arrays"], strict=True):
            array = laid_out(array, description)
            self._arrays[name] = array
            owner, slash, key = name.partition("/")
            if slash:
                self._values[owner][key] = array
            else:
                self._values[name] = array
        self._dicts = {name: self._values[name] for name in frame.header["dicts"]}
        for name, key, value in frame.header["members"]:
            self._dicts[name][key] = _immutable(value)
        self._before = {name: dict(value) for name, value in self._dicts.items()}

    def run(self, functions: Mapping[str, Any], filename: str) -> tuple[dict[str, Any], list[tuple[str, Array]]]:
        """Call, and return the header and the arrays of the answer.

        Raises
        ------
        Exit
            If the submission raised SystemExit.
        """
        taken, raised = Taken(), None
        values, why = dict(self._values), "nothing"
        for function, args, returns, options in self._script:
            if not all(name in values for name in (*args, *(name for _, name in options))):
                break  # an earlier function did not return it
            if function not in functions:
                raised = {"type": "NameError", "message": f"there is no function {function}", "line": None}
                break
            try:
                got = functions[function](
                    *[values[name] for name in args], **{key: values[name] for key, name in options}
                )
            except BaseException as error:
                if issubclass(type(error), SystemExit):
                    raise Exit from None
                raised = error_fields(error, filename)
                break
            named, wrong = _named(function, got, returns)
            values.update(named)
            for name in returns:
                if name not in named:
                    why = wrong
                    values.pop(name, None)
            for name in self._outputs:
                if name in named:
                    taken.add(name, named[name])
        for name in self._outputs:
            if name not in values:
                taken.wrong[name] = why
        header = {"kind": "answer", "wrong": taken.wrong, "raised": raised, "changed": self._changed_dicts()}
        arrays = [(f"out:{name}", array) for name, array in taken.arrays.items()]
        return header, arrays + [(f"in:{name}", array) for name, array in self._arrays.items()]

    def _changed_dicts(self) -> list[str]:
        """Members of dicts that were replaced, added or removed."""
        changed = []
        for name, before in self._before.items():
            now = self._dicts[name]
            for key in {**before, **now}:
                if key not in now or key not in before or now[key] is not before[key]:
                    changed.append(f"{name}/{str(key)[:100]}")
        return sorted(changed)


def _named(function: str, got: Any, returns: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Returned values by name, and what there is in place of those that were not returned, in words."""
    if len(returns) == 1:
        return {returns[0]: got}, ""
    if issubclass(type(got), tuple):
        values = list(tuple.__iter__(got))
    elif issubclass(type(got), list):
        values = list(list.__iter__(got))
    else:
        return {}, f"nothing: {function} returned {described(got)}, not {len(returns)} values"
    if len(values) != len(returns):
        wrong = f"nothing: {function} returned {_count(len(values))}, not {len(returns)}"
        return dict(zip(returns, values)) if len(values) < len(returns) else {}, wrong  # noqa: B905
    return dict(zip(returns, values, strict=True)), ""


def _count(values: int) -> str:
    return "1 value" if values == 1 else f"{values} values"


def _immutable(value: Any) -> Any:
    """A JSON value with tuples for lists: sizes and shapes are tuples in Python."""
    return tuple(map(_immutable, value)) if isinstance(value, list) else value
