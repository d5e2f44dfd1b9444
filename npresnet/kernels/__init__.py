"""The loops of every operation, written twice, and the one switch between them.

:mod:`npresnet.kernels.reference` is the executable specification in plain NumPy; :mod:`npresnet.kernels.fast` holds
the Numba twins with the same names and signatures. Numba is imported, and compiles, only when a fast kernel is first
called.
"""

from __future__ import annotations

import importlib
from types import ModuleType, TracebackType

BACKENDS = {"numba": "npresnet.kernels.fast", "numpy": "npresnet.kernels.reference"}

_active = "numba"


def backend() -> ModuleType:
    """Return the module whose kernels are in use."""
    return importlib.import_module(BACKENDS[_active])


class use_backend:
    """Choose the kernels of the whole process: call it, or use it as a context manager to switch back afterwards.

    Parameters
    ----------
    name : {"numba", "numpy"}
        Compiled kernels (the default), or the NumPy reference.

    Raises
    ------
    ValueError
        If the name is neither.

    Examples
    --------
    >>> with use_backend("numpy"):
    ...     backend().__name__
    'npresnet.kernels.reference'
    """

    def __init__(self, name: str) -> None:
        global _active
        if name not in BACKENDS:
            raise ValueError(f"unknown backend {name!r}; choose one of {', '.join(map(repr, BACKENDS))}")
        self._name, self._previous = name, _active
        _active = name

    def __enter__(self) -> use_backend:
        global _active
        _active = self._name
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _active
        _active = self._previous


def active_backend() -> str:
    """Return the name of the backend in use, ``"numba"`` or ``"numpy"``."""
    return _active
