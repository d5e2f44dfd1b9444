"""Run a script of calls on the solution with one of its functions replaced: trusted code, in this process."""

from __future__ import annotations

import copy
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import solution
from ..part import Array, Case
from .mistake import Functions


def outputs_of(case: Case, functions: Functions | None = None) -> dict[str, Array] | None:
    """What the solution returns in a case, with some of its functions replaced.

    Parameters
    ----------
    case : Case
    functions : mapping, optional
        The replacements, by name. Functions of the solution that call them call the replacements.

    Returns
    -------
    dict of arrays or None
        The marked outputs as the judge sends them: members of a dict as ``name/key``, None left out. None in place of
        the dict when a function raised an error, as wrong functions do in some cases.
    """
    namespace = _solution_with(functions or {})
    values = copy.deepcopy(dict(case.inputs))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for step in case.script:
                options = {keyword: values[name] for keyword, name in step.options}
                returned = namespace[step.function](*(values[name] for name in step.args), **options)
                if len(step.returns) == 1:
                    returned = (returned,)
                values |= zip(step.returns, returned, strict=True)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return None
    return flat({name: values[name] for name in case.outputs if name in values})


def flat(values: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays and numbers by name; members of a dict as ``name/key``."""
    found: dict[str, Array] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= {f"{name}/{key}": np.asarray(member) for key, member in value.items()}
        elif value is not None:
            found[name] = np.asarray(value)
    return found


def _solution_with(functions: Functions) -> dict[str, Callable[..., Any]]:
    """The solution's functions in a namespace of their own, in which the replacements are what they find."""
    namespace: dict[str, Any] = dict(vars(solution))
    for name, value in vars(solution).items():
        if isinstance(value, types.FunctionType) and value.__module__ == solution.__name__:
            namespace[name] = types.FunctionType(value.__code__, namespace, name, value.__defaults__)
            namespace[name].__kwdefaults__ = value.__kwdefaults__
    namespace.update(functions)  # in place: it is what the functions in it look their names up in
    return namespace
