"""Names, messages and values of a submission in words, however they were made to look."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any

import numpy as np

LONGEST = 300  # characters of a message


def cleaned(text: str, longest: int = LONGEST, keep: str = "") -> str:
    """Without control characters (but those in ``keep``), and cut."""
    text = text[: longest + 1]
    text = "".join(c if c.isprintable() or c in keep else " " for c in text)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def type_name(value: object) -> str:
    """The name of a value's type, which no metaclass can fake."""
    name = type.__dict__["__name__"].__get__(type(value))
    return cleaned(str(name), 60)


def described(value: object) -> str:
    """What kind of value it is: "None", "a list", "an ndarray subclass memmap", "an ndarray of dtype object"."""
    if value is None:
        return "None"
    name = type_name(value)
    if type(value) is np.ndarray:
        return f"an ndarray of dtype {cleaned(str(value.dtype), 60)}"
    if issubclass(type(value), np.ndarray):
        return f"an ndarray subclass {name}"
    if issubclass(type(value), tuple):
        return f"a tuple of {tuple.__len__(value)}"  # type: ignore[arg-type]
    return f"{'an' if re.match('[aeiou]', name, re.I) else 'a'} {name}"


def error_fields(error: BaseException, filename: str) -> dict[str, Any]:
    """Type, message and line (of the innermost frame in ``filename``) of an exception, for JSON."""
    try:
        text = str(error)
        message = cleaned(text) if type(text) is str else ""
    except BaseException:  # a message that raises
        message = ""
    line = None
    trace: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return {"type": type_name(error), "message": message, "line": line}
