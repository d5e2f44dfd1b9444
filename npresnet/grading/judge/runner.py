"""Run one part: a submission in a process of its own, case after case; everything that comes back is looked at here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..parsing import NotPython, parsed
from ..part import Case, arrays_of
from .folder import temporary_folder
from .layers import LAYERS, POLICY
from .policy import check_source
from .process import Ended, Process
from .protocol import Array, Frame, ProtocolError
from .results import CaseResult, JudgeError, Limits, PartRun, Raised
from .stand_ins import closed, stand_in_source
from .words import cleaned

KEPT_OUTPUT = 4096  # characters of what was printed


def run_part(
    source: str,
    filename: str,
    stand_ins: Sequence[str],
    cases: Sequence[Case],
    limits: Limits | None = None,
    allow: Sequence[str] = (),
    *,
    layers: Collection[str] = LAYERS,
) -> PartRun:
    """Run a submission on some cases, in one process with hard limits.

    Parameters
    ----------
    source : str
        The text of the submission.
    filename : str
        What it is called, for messages.
    stand_ins : sequence of str
        Functions of the solution that replace the submission's own. Those that cannot do without a function that is
        not among them are left out.
    cases : sequence of Case
        Only their scripts, inputs and names of outputs reach the process.
    limits : Limits, optional
    allow : sequence of str
        Modules that may be imported besides the usual ones.
    layers : collection of str
        Which of :data:`.LAYERS` to use; anything but all of them is for tests.

    Returns
    -------
    PartRun
        Never an exception for what a submission is or does.

    Raises
    ------
    JudgeError
        If Python with NumPy cannot be started in a process of its own here.
    """
    limits = limits or Limits()
    name = cleaned(os.path.basename(filename), 100) or "submission.py"
    refusal = _refusal(source, allow, POLICY in layers)
    if refusal is not None:
        return refusal
    with temporary_folder() as folder, contextlib.closing(_start(folder, limits, allow)) as process:
        _set_up(process, folder, limits, allow, layers)
        started = time.monotonic()
        deadline = started + limits.seconds
        results: list[CaseResult] = []
        ended, raised = Ended("finished", ""), None
        try:
            raised = _load(process, source, name, stand_ins, deadline)
            if raised is None:
                results += [_run_case(process, case, deadline) for case in cases]
                process.finish()
            else:
                ended = Ended("import", "the module raised an exception when it was run")
        except Ended as reason:
            ended, results = reason, []
        except ProtocolError as error:
            ended, results = Ended("protocol", f"the process sent {error}"), []
        seconds = time.monotonic() - started
        process.close()  # also reads what was printed last
        return PartRun(tuple(results), ended.kind, ended.detail, raised, seconds, _printed(process))


def locks_here(layers: Collection[str] = LAYERS) -> tuple[str, ...]:
    """The locks that are really on in a judged process on this machine, as found out by one."""
    limits = Limits()
    with temporary_folder() as folder, contextlib.closing(_start(folder, limits, ())) as process:
        return _set_up(process, folder, limits, (), layers)


def _refusal(source: str, allow: Sequence[str], policy: bool) -> PartRun | None:
    """What can be said without running anything."""
    try:
        parsed(source)
    except NotPython as error:
        raised = Raised(error.kind, cleaned(error.message), error.line)
        return PartRun(ended="import", detail="the file is not Python", raised=raised)
    fatal = [finding for finding in check_source(source, allow) if finding.fatal] if policy else []
    if fatal:
        return PartRun(ended="refused", detail=f"line {fatal[0].line}: {fatal[0].message}")
    return None


def _start(folder: Path, limits: Limits, allow: Sequence[str]) -> Process:
    sizes = limits.output_kb << 10, limits.file_mb << 20  # bytes
    return Process(folder, _import_paths(allow), *sizes, _cpu_seconds(limits))


def _cpu_seconds(limits: Limits) -> float:
    return limits.seconds if limits.cpu_seconds is None else limits.cpu_seconds


def _set_up(
    process: Process, folder: Path, limits: Limits, allow: Sequence[str], layers: Collection[str]
) -> tuple[str, ...]:
    """Wait until the process has imported NumPy and locked itself in; the names of its locks."""
    setup = {
        "kind": "setup",
        "paths": _import_paths(allow),
        "modules": list(allow),
        "folder": str(folder),
        "limits": {
            "memory_mb": limits.memory_mb,
            "cpu_seconds": _cpu_seconds(limits),
            "file_mb": limits.file_mb,
        },
        "parent": os.getpid(),
        "layers": list(layers),
    }
    try:
        ready = process.ask(setup, (), time.monotonic() + limits.startup_seconds)
    except Ended as reason:
        process.close()
        text = process.output.decode(errors="replace").strip()
        raise JudgeError(f"Python with NumPy did not start in a process of its own: {reason.detail}\n{text}") from None
    locks = tuple(map(str, ready.header.get("locks", ())))
    if "seccomp" in locks:
        process.filtered()
    return locks


def _import_paths(allow: Sequence[str]) -> list[str]:
    """Folders in which NumPy and the allowed modules are found."""
    paths = [str(Path(np.__file__).resolve().parent.parent)]
    for module in allow:
        spec = None
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(module.split(".")[0])
        origins = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
        if origins and origins[0] not in ("", "built-in", "frozen"):
            parent = str(Path(origins[0]).resolve().parent)
            if parent not in paths:
                paths.append(parent)
    return paths


def _load(process: Process, source: str, name: str, stand_ins: Sequence[str], deadline: float) -> Raised | None:
    """Have the submission executed; its exception, if any."""
    load = {
        "kind": "load",
        "filename": name,
        "names": closed(stand_ins),
        "stand_ins": stand_in_source(stand_ins),
    }
    text = np.frombuffer(source.encode(), np.uint8)
    answer = _expected(process.ask(load, [("source", text)], deadline), "loaded", "raised")
    return None if answer.kind == "loaded" else _raised(answer.header.get("raised"))


def _run_case(process: Process, case: Case, deadline: float) -> CaseResult:
    """Both runs of a case."""
    sent = dict(arrays_of(case.inputs))
    _expected(process.ask(_described(case), list(sent.items()), deadline), "held")
    answers, seconds = [], []
    for _ in range(2):
        started = time.perf_counter()
        answers.append(_expected(process.ask({"kind": "go"}, (), deadline), "answer"))
        seconds.append(time.perf_counter() - started)
    first, second = answers
    outputs, after = _sorted(first)
    outputs_again, after_again = _sorted(second)
    changed = {*_changed(sent, after, first), *_changed(sent, after_again, second)}
    repeated = first.header.get("wrong") == second.header.get("wrong") and _same(outputs, outputs_again)
    return CaseResult(
        outputs=outputs,
        wrong_types=_wrong_types(case, first.header.get("wrong"), outputs),
        raised=_raised(first.header.get("raised")),
        inputs_changed=tuple(sorted(changed)),
        repeated=repeated and (first.header.get("raised") is None) == (second.header.get("raised") is None),
        seconds=min(seconds),
    )


def _described(case: Case) -> dict[str, Any]:
    """A case for the process: neither answers nor settings nor the seed."""
    values: dict[str, Any] = {}
    dicts, members = [], []
    for name, value in case.inputs.items():
        if isinstance(value, dict):
            dicts.append(name)
            members += [
                (name, key, _plain(member)) for key, member in value.items() if not isinstance(member, np.ndarray)
            ]
        elif not isinstance(value, np.ndarray):
            values[name] = _plain(value)
    script = [(step.function, list(step.args), list(step.returns), list(step.options)) for step in case.script]
    return {
        "kind": "case",
        "script": script,
        "values": values,
        "dicts": dicts,
        "members": members,
        "outputs": list(case.outputs),
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# ------------------------------------------------------------------------------------------------ answers
def _expected(frame: Frame, *kinds: str) -> Frame:
    if frame.kind == "exit":
        raise Ended("exit", "the submission raised SystemExit (exit or sys.exit)")
    if frame.kind not in kinds:
        raise Ended("protocol", "the process sent a message that nobody asked for")
    return frame


def _sorted(frame: Frame) -> tuple[dict[str, Array], dict[str, Array]]:
    """Arrays of an answer: outputs, and inputs after the call."""
    outputs: dict[str, Array] = {}
    inputs: dict[str, Array] = {}
    for name, array in frame.arrays():
        where, _, rest = name.partition(":")
        if where not in ("in", "out"):
            raise ProtocolError("an array of no use")
        (inputs if where == "in" else outputs)[cleaned(rest)] = array
    return outputs, inputs


def _changed(sent: Mapping[str, Array], after: Mapping[str, Array], frame: Frame) -> list[str]:
    members = frame.header.get("changed")
    if not isinstance(members, list) or after.keys() != sent.keys():
        raise ProtocolError("an answer without the inputs")
    return [cleaned(str(name)) for name in members] + [
        name for name, array in sent.items() if not _same({name: array}, {name: after[name]})
    ]


def _same(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """The same names, shapes, dtypes and bytes."""
    return one.keys() == other.keys() and all(
        array.shape == other[name].shape
        and array.dtype == other[name].dtype
        and array.tobytes() == other[name].tobytes()
        for name, array in one.items()
    )


def _wrong_types(case: Case, found: object, outputs: Mapping[str, Array]) -> dict[str, str]:
    """In words, what is not among the arrays; every output of the case is accounted for."""
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ProtocolError("an answer that does not say what is missing")
    wrong = {cleaned(str(name)): cleaned(text) for name, text in found.items()}
    for name in case.outputs:
        if not any(key == name or key.startswith(f"{name}/") for key in (*outputs, *wrong)):
            wrong[name] = "nothing"
    return wrong


def _raised(found: object) -> Raised | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        raise ProtocolError("an exception that is none")
    line = found.get("line")
    return Raised(
        cleaned(str(found.get("type")), 100), cleaned(str(found.get("message"))), line if type(line) is int else None
    )


def _printed(process: Process) -> str:
    return cleaned(process.output.decode(errors="replace"), KEPT_OUTPUT, keep="\n\t")
