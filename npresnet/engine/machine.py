"""From LLVM text to functions that run: compiled once, kept on disk, loaded into the process."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import binding as llvm

from .. import __version__
from .codecache import CodeCache
from .record import KernelShape
from .target import Target

ANNOUNCEMENT = "npresnet: compiling for this processor, once (a few seconds) ..."

_lock = threading.Lock()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # a forked child must not wait for a thread that it does not have
    os.register_at_fork(after_in_child=_new_lock)


class Machine:
    """The compiled functions of one target: asked for by name, made when first needed.

    Parameters
    ----------
    target : Target
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._addresses: dict[str, int] = {}
        self._linker = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.machine())
        self._cache = CodeCache(f"npresnet {__version__} {_source_hash()} {target.identity}")

    def function(self, kind: str, *options: Any) -> int:
        """Return the address of a function.

        Parameters
        ----------
        kind : str
            One of :data:`.generators.GENERATORS`.
        *options
            What the generator is told, beside the target; part of the function's name, which is its key in the cache.
        """
        name = "_".join([kind, *map(str, options)])
        return self._address(name, kind, options)

    def kernel(self, shape: KernelShape) -> int:
        """Return the address of a micro-kernel."""
        return self._address(shape.name, "microkernel", (shape,))

    def _address(self, name: str, kind: str, options: tuple[Any, ...]) -> int:
        with _lock:
            if name not in self._addresses:
                code = self._cache.get(name)
                if code is None:
                    if not self._addresses:
                        print(ANNOUNCEMENT, file=sys.stderr, flush=True)
                    from .generators import GENERATORS

                    code = self._compile(GENERATORS[kind](name, self.target, *options))
                    self._cache.put(name, code)
                self._linker.add_object_file(llvm.ObjectFileRef.from_data(code))
                self._linker.finalize_object()
                self._addresses[name] = self._linker.get_function_address(name)
            return self._addresses[name]

    @functools.cached_property
    def _generator(self) -> llvm.TargetMachine:
        return self.target.machine()

    def _compile(self, text: str) -> bytes:
        return self._generator.emit_object(self._optimised(text))

    def assembly(self, text: str) -> str:
        """Return the processor's instructions for an LLVM text, for readers and for tests."""
        return self._generator.emit_assembly(self._optimised(text))

    def _optimised(self, text: str) -> llvm.ModuleRef:
        module = llvm.parse_assembly(text)
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        # The kernels are vectors already, and unrolled as far as there are registers.
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        options.loop_interleaving = False
        passes = llvm.create_pass_builder(self._generator, options)
        passes.getModulePassManager().run(module, passes)
        return module


@functools.cache
def machine_for(target: Target) -> Machine:
    """Return the machine of a target; there is one for the whole process."""
    return Machine(target)


@functools.cache
def _source_hash() -> str:
    """A hash of what generates code: code in the cache is never that of another version of these files."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def native(address: int, arguments: int) -> Callable[..., None]:
    """Return a compiled function as a Python one that takes integers; it runs without the interpreter lock."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(address)


@functools.cache
def give_way() -> int:
    """Return the address of the system's function that lets other threads run, or 0."""
    if sys.platform == "win32":
        return ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value or 0
    function = getattr(ctypes.CDLL(None), "sched_yield", None)
    return (ctypes.cast(function, ctypes.c_void_p).value or 0) if function else 0
