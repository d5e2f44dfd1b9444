"""The program of a judged process: imports NumPy, locks itself in, runs the submission, answers case by case.

It is started without the package around it, so its siblings and NumPy are all it has; see :mod:`.process`. Messages
come from and go to the judge through two pipes:

========  =============================================================  ==============================
message   holds                                                          answered by
========  =============================================================  ==============================
setup     import path, limits, folder                                    ready: the locks that are on
load      source of the submission and of the stand-ins                  loaded, raised or exit
case      script, values, arrays                                         held
go        nothing; the case is called, on fresh copies each time         answer or exit
bye       nothing                                                        the end of the process
========  =============================================================  ==============================
"""

from __future__ import annotations

import importlib
import linecache
import os
import sys
import types
import warnings
from typing import Any

import numpy as np

from . import idle, locks
from .calls import Call, Exit
from .protocol import Array, Frame, Parser, pack
from .words import error_fields
from .worker_codes import BROKEN, OUT_OF_MEMORY

MODULE = "submission"
USUAL = (
    "abc", "bisect", "cmath", "collections.abc", "concurrent.futures", "contextlib", "copy", "dataclasses", "decimal",
    "enum", "fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "operator", "random", "re",
    "statistics", "string", "textwrap", "time", "traceback", "typing", "warnings",
)  # fmt: skip
"""Imported before the locks go on, so that nothing of them needs to be found afterwards."""


class _Pipes:
    """Frames in and out."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests, self._replies = requests, replies
        self._parser = Parser()
        self._read, self._write = os.read, os.write  # whatever a submission makes of the module os

    def receive(self) -> Frame:
        """Wait for the next message; the process ends when the judge has closed the pipe."""
        while (frame := self._parser.frame()) is None:
            data = self._read(self._requests, 1 << 20)
            if not data:
                os._exit(BROKEN)
            self._parser.feed(data)
        return frame

    def send(self, header: dict[str, Any], arrays: list[tuple[str, Array]] | None = None) -> None:
        """Send a message whole."""
        data = memoryview(pack(header, arrays or []))
        while data:
            data = data[self._write(self._replies, data) :]


def main() -> None:
    """Serve one part; never returns."""
    leave = os._exit
    try:
        pipes = _Pipes(int(sys.argv[1]), int(sys.argv[2]))
        pipes.send({"kind": "ready", "locks": _set_up(pipes.receive().header)})
        _serve(pipes)
    except MemoryError:
        leave(OUT_OF_MEMORY)
    except BaseException as error:
        import traceback

        traceback.print_exception(error)
        leave(BROKEN)
    leave(0)


def _set_up(setup: dict[str, Any]) -> list[str]:
    """Import what submissions may need, and lock the process in."""
    standard_library = [path for path in sys.path if path not in setup["paths"]]
    for name in (*USUAL, *setup["modules"]):
        try:
            importlib.import_module(name)
        except ImportError:
            if name in USUAL:
                raise
    idle.install()
    _warm_up()
    packages = _packages(standard_library)
    sys.path[:] = standard_library  # what is installed beside NumPy cannot be imported any more
    sys.path_importer_cache.clear()
    locks_on = locks.lock(
        setup["folder"], standard_library, packages, setup["limits"], setup["parent"], setup["layers"], setup["modules"]
    )
    for name in ("ctypes", "_ctypes"):
        sys.modules.pop(name, None)
    return locks_on


def _warm_up() -> None:
    """Load what NumPy loads when it is first used, outside the time limit."""
    from numpy.lib.stride_tricks import sliding_window_view

    x = np.random.default_rng(0).normal(size=(4, 4))
    np.linalg.norm(np.einsum("ij,jk,kl->il", x, x, x, optimize=True))
    np.fft.fft(x)
    sliding_window_view(np.pad(x, 1) @ np.ones((6, 6)), (2, 2))
    str(x)


def _packages(standard_library: list[str]) -> list[str]:
    """Folders and files of all packages imported so far that are not of the standard library."""
    found = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or "." in name or name == "judge" or os.path.dirname(file) in standard_library:
            continue
        top = os.path.dirname(file) if os.path.basename(file).startswith("__init__.") else file
        if os.path.dirname(top) not in standard_library:
            found |= {top, f"{top}.libs"}
    return sorted(found)


def _serve(pipes: _Pipes) -> None:
    frame = pipes.receive()
    load, functions = frame.header, None
    filename = load["filename"]
    try:
        functions = _loaded(load, frame.payload.decode())
    except BaseException as error:
        if issubclass(type(error), SystemExit):
            pipes.send({"kind": "exit"})
        else:
            pipes.send({"kind": "raised", "raised": error_fields(error, filename)})
    else:
        pipes.send({"kind": "loaded"})
    while (request := pipes.receive()).kind == "case":
        call = Call(request)
        pipes.send({"kind": "held"})
        for _ in range(2):
            pipes.receive()
            try:
                pipes.send(*call.run(functions or {}, filename))
            except Exit:
                pipes.send({"kind": "exit"})
            call = Call(request)  # on fresh copies


def _loaded(load: dict[str, Any], source: str) -> dict[str, Any]:
    """Run the submission as a module and put the stand-ins in their places; return its names."""
    filename = load["filename"]
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    module = types.ModuleType(MODULE)
    module.__file__ = filename
    sys.modules[MODULE] = module
    names: dict[str, Any] = module.__dict__
    with warnings.catch_warnings():  # of formulas in comments, which would be taken for output
        warnings.simplefilter("ignore")
        code = compile(source, filename, "exec", dont_inherit=True)
    exec(code, names)
    if load["names"]:
        apart: dict[str, Any] = {"__name__": "stand_ins"}
        exec(compile(load["stand_ins"], "<stand-ins>", "exec", dont_inherit=True, optimize=2), apart)
        names.update({name: apart[name] for name in load["names"]})
    return names
