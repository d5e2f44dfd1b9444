"""``solution.py`` as text: what it says, which functions it defines, and which of them each one needs."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from importlib import resources

from .parsing import parsed


@functools.cache
def solution_text() -> str:
    """The text of ``solution.py``."""
    return (resources.files("npresnet.grading") / "solution.py").read_text(encoding="utf-8")


@functools.cache
def solution_functions() -> dict[str, ast.FunctionDef]:
    """All its functions, public and private, in their order."""
    return {node.name: node for node in parsed(solution_text()).body if isinstance(node, ast.FunctionDef)}


def needed_by(name: str, follow: Callable[[str], bool] = lambda used: True) -> tuple[str, ...]:
    """Other functions of the solution that one needs, directly or by way of others, in the order of the file.

    Parameters
    ----------
    name : str
    follow : callable
        Which of the functions that are named count; by default all.
    """
    found: set[str] = set()
    pending = [name]
    while pending:
        new = {used for used in _named_in()[pending.pop()] if follow(used)} - found
        found |= new
        pending += new
    return tuple(used for used in solution_functions() if used in found and used != name)


@functools.cache
def _named_in() -> dict[str, frozenset[str]]:
    """For each function those that it names itself."""
    functions = solution_functions()
    return {
        name: frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id in functions)
        for name, node in functions.items()
    }
