"""Which functions has a student written? Those that a file defines and that are not stubs any more."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .parsing import NotPython, parsed


def written_names(source: str) -> set[str]:
    """All names that a text binds at its top level, except functions that do nothing yet.

    Parameters
    ----------
    source : str
        Python text; nothing is executed. What is no Python has no names.
    """
    try:
        tree = parsed(source)
    except NotPython:
        return set()
    names: set[str] = set()
    for statement in _top_level(tree.body):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and _is_stub(statement):
            names.discard(statement.name)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
        else:
            names |= {
                node.id
                for node in ast.walk(statement)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
    return names


def _top_level(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements whose names are global: also those inside an ``if`` or a ``try``."""
    for statement in statements:
        yield statement
        if isinstance(statement, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            for field in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(statement, field, []))


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function consists of a docstring, ``pass``, ``...`` and ``raise NotImplementedError`` alone."""
    for statement in function.body:
        if isinstance(statement, ast.Pass):
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if isinstance(statement, ast.Raise) and statement.exc is not None:
            error = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
            if isinstance(error, ast.Name) and error.id == "NotImplementedError":
                continue
        return False
    return True
