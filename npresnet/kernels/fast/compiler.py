"""The one decorator that compiles: change it here, and every loop follows.

``NUMBA_DISABLE_JIT=1`` in the environment runs all loops as ordinary Python, for a debugger. Machine code is kept on
disk beside the source, or in the user's cache folder; where neither can be written, it is compiled once a process.

NOTE: Numba's cache does not notice a changed callee in *another* file, so a compiled helper lives in the same file as
its callers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compile a loop on its first call, free of the interpreter lock, with sums that may be reordered into vectors.

    Of the ``fastmath`` flags only these two are safe here: the others assume that no NaN or infinity occurs.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}}
    return _cached(lambda cache: numba.njit(cache=cache, **options)(function))


def ufunc(scalar: Callable[..., float], arguments: int) -> Any:
    """Compile a formula for one number into a NumPy ufunc for float32 and float64 arrays."""
    signatures = [kind(*[kind] * arguments) for kind in (numba.float32, numba.float64)]
    return _cached(lambda cache: numba.vectorize(signatures, nopython=True, cache=cache)(scalar))


def _cached(compile: Callable[[bool], Any]) -> Any:
    try:
        return compile(True)
    except RuntimeError as error:  # Numba found no folder that it may write to
        if "cache" not in str(error):
            raise
        return compile(False)
