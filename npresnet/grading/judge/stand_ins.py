"""Source text of the functions that stand in for a student's earlier ones."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from pathlib import Path

SOLUTION = Path(__file__).parent.parent / "solution.py"


def closed(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the named functions that call none but each other, in the order of the solution.

    The others cannot stand in for anything: with them, a function that the part is about would come into the process.
    """
    kept = set(names)
    unknown = kept.difference(_functions())
    if unknown:
        raise ValueError(f"no functions of the coursework: {', '.join(sorted(unknown))}")
    while True:
        open_ones = {name for name in kept if any(used not in kept for used in _public_uses(name))}
        if not open_ones:
            return tuple(name for name in _functions() if name in kept)
        kept -= open_ones


def stand_in_source(names: Iterable[str]) -> str:
    """The source of the named functions with the private helpers that they need, and nothing else.

    Parameters
    ----------
    names : iterable of str
        Functions of the solution; those that need others than these are left out, see :func:`closed`.
    """
    kept = closed(names)
    wanted = set(kept).union(*(_uses(name) for name in kept)) if kept else set()
    text, lines = _source(), _source().splitlines(keepends=True)
    parts = []
    for node in ast.parse(text).body:
        about_all = isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)  # modules and names of types
        if about_all or (isinstance(node, ast.FunctionDef) and node.name in wanted):
            parts.append("".join(lines[node.lineno - 1 : node.end_lineno]))
    return "\n".join(parts)


def _public_uses(name: str) -> set[str]:
    return {used for used in _uses(name) if not used.startswith("_")}


@functools.cache
def _uses(name: str) -> frozenset[str]:
    """Other functions of the solution that one needs, directly or by way of others."""
    found: set[str] = set()
    pending = [name]
    while pending:
        for used in _functions()[pending.pop()]:
            if used not in found:
                found.add(used)
                pending.append(used)
    return frozenset(found - {name})


@functools.cache
def _functions() -> dict[str, frozenset[str]]:
    """All functions of the solution in their order, with those that each names."""
    functions = {node.name: node for node in ast.parse(_source()).body if isinstance(node, ast.FunctionDef)}
    return {
        name: frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id in functions)
        for name, node in functions.items()
    }


@functools.cache
def _source() -> str:
    return SOLUTION.read_text(encoding="utf-8")
