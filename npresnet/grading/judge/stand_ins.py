"""Source text of the functions that stand in for a student's earlier ones."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable

from ..parsing import parsed
from ..solution_source import needed_by, solution_functions, solution_text


def closed(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the named functions that call none but each other, in the order of the solution.

    The others cannot stand in for anything: with them, a function that the part is about would come into the process.
    """
    kept = set(names)
    unknown = kept.difference(solution_functions())
    if unknown:
        raise ValueError(f"no functions of the coursework: {', '.join(sorted(unknown))}")
    while True:
        open_ones = {name for name in kept if any(used not in kept for used in _public_uses(name))}
        if not open_ones:
            return tuple(name for name in solution_functions() if name in kept)
        kept -= open_ones


def stand_in_source(names: Iterable[str]) -> str:
    """The source of the named functions with the private helpers that they need, and nothing else.

    Parameters
    ----------
    names : iterable of str
        Functions of the solution; those that need others than these are left out, see :func:`closed`.
    """
    return _source_of(closed(names))


@functools.cache
def _source_of(kept: tuple[str, ...]) -> str:
    wanted = set(kept).union(*map(needed_by, kept))
    lines = solution_text().splitlines(keepends=True)
    parts = []
    for node in parsed(solution_text()).body:
        about_all = isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)  # modules and names of types
        if about_all or (isinstance(node, ast.FunctionDef) and node.name in wanted):
            parts.append("".join(lines[node.lineno - 1 : node.end_lineno]))
    return "\n".join(parts)


def _public_uses(name: str) -> set[str]:
    return {used for used in needed_by(name) if not used.startswith("_")}
