"""Is a returned value right? If not: what is wrong with it, said in one sentence.

An answer counts when it is what the interface says (an array of this shape, of float32 or float64, all finite) and no
further from the exact answer than rounding explains. What rounding explains is known for every element: the bound that
comes with the answer, times the roundoff of float32. An answer in float64 is held to the same measure, since it may
have been computed in float32 inside; a mistake of the mathematics is off by far more (the tests insist on that).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .marks import Failure
from .part import Case, Expected, arrays_of
from .texts import ENGLISH, Texts

if TYPE_CHECKING:
    from .judge import CaseResult

ROUNDOFF = float(np.finfo(np.float32).eps) / 2
"""Half the distance of neighbouring float32 numbers around one: what one operation may be off, relative."""


def members(expected: Mapping[str, Expected], output: str) -> list[str]:
    """The arrays that one output consists of: itself, or the members of a dict (``grads/conv1.weight`` ...)."""
    return [name for name in expected if name == output or name.startswith(f"{output}/")]


def compare(
    case: Case, expected: Mapping[str, Expected], result: CaseResult, output: str, say: Texts = ENGLISH
) -> list[Failure | None]:
    """What is wrong with one output of one case: for each of its members None (right) or a failure.

    Parameters
    ----------
    case : Case
    expected : dict
        The exact answers, by the names of the members. An output that has none must be None.
    result : CaseResult
        What came back from the judge.
    output : str
    say : Texts
        The language of messages.

    Returns
    -------
    list of Failure or None
        One for each member; a single one when the whole output is at fault.
    """
    where = _where(case, output)
    if result.raised is not None:
        raised = result.raised
        if raised.type == "NotImplementedError":
            return [Failure(kind="missing", message=say("not written yet"), line=raised.line, **where)]
        text = f"{raised.type}: {raised.message}" if raised.message else raised.type
        return [Failure(kind="exception", message=text, line=raised.line, **where)]
    names = members(expected, output)
    if not names:
        if result.wrong_types.get(output) != "None":
            return [Failure(kind="type", message=say("{output} should be None here", output=output), **where)]
        return [None]
    if output in result.wrong_types:
        wanted, what = say(_wanted(expected, output)), say(result.wrong_types[output])
        message = say("{output} should be {wanted}, but is {what}", output=output, wanted=wanted, what=what)
        return [Failure(kind="type", message=message, **where)]
    failures = [_compare_member(case, name, expected[name], result, say) for name in names]
    if any(failures):
        return failures
    if result.inputs_changed:
        changed = ", ".join(result.inputs_changed)
        message = say("the function writes to its argument {changed}", changed=changed)
        return [Failure(kind="mutated", message=message, **where)]
    if not result.repeated:
        message = say("a second call with the same arguments gave another answer")
        return [Failure(kind="unstable", message=message, **where)]
    return failures


def _compare_member(case: Case, name: str, expected: Expected, result: CaseResult, say: Texts) -> Failure | None:
    where = _where(case, name)
    if name in result.wrong_types:
        wanted, what = say("an array"), say(result.wrong_types[name])
        message = say("{output} should be {wanted}, but is {what}", output=name, wanted=wanted, what=what)
        return Failure(kind="type", message=message, **where)
    if name not in result.outputs:
        return Failure(kind="missing", message=say("{output} was not returned", output=name), **where)
    got, right = result.outputs[name], np.asarray(expected.value)
    if got.shape != right.shape:
        message = say(
            "{output} has shape {got}, expected {right}", output=name, got=_shape(got.shape), right=_shape(right.shape)
        )
        return Failure(kind="shape", message=message, **where)
    if got.dtype not in (np.float32, np.float64):
        message = say("{output} has dtype {got}, expected float32 or float64", output=name, got=str(got.dtype))
        return Failure(kind="dtype", message=message, **where)
    if not np.isfinite(got).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(got))[0])
        message = say("{output} is not finite at {at}", output=name, at=_shape(at))
        return Failure(kind="not finite", message=message, position=at, expected=float(right[at]), **where)
    error = np.abs(got.astype(np.float64) - right)
    allowed = np.broadcast_to(np.asarray(expected.bound, np.float64) * ROUNDOFF, right.shape)
    off = error > allowed
    if not off.any():
        return None
    worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(error - allowed)), right.shape))
    return Failure(
        kind="values",
        message=say("{output} has wrong values", output=name),
        position=worst,
        expected=float(right[worst]),
        got=float(got[worst]),
        error=float(error[worst]),
        allowed=float(allowed[worst]),
        wrong=float(off.mean()),
        **where,
    )


def _where(case: Case, output: str) -> dict[str, Any]:
    """The fields of a failure that say which case it is."""
    shapes = {name: tuple(array.shape) for name, array in arrays_of(case.inputs)}
    return {
        "settings": case.settings,
        "seed": case.seed,
        "dtype": case.dtype,
        "shapes": shapes,
        "output": output,
    }


def _wanted(expected: Mapping[str, Expected], output: str) -> str:
    if output not in expected:
        return "a dict of arrays"
    return "a number" if np.ndim(expected[output].value) == 0 else "an array"


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
