"""Public names of a package that are imported when they are first used, so that importing the package stays light."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_attributes(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package (PEP 562).

    Parameters
    ----------
    package : str
        Its ``__name__``.
    home : mapping
        For each public name the module of the package that defines it.

    Returns
    -------
    callable
        Imports a name and keeps it; raises AttributeError for those that are not in ``home``.
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{home[name]}", package), name)
        # The function, not the module of the same name that the import may just have put there.
        setattr(sys.modules[package], name, value)
        return value

    return get
