"""Fingerprints of a program that renaming, reordering and rewording do not change.

A file is read as a syntax tree, and each function body becomes a sequence of words: kinds of statements and
expressions, operators, and the names of attributes and functions that NumPy or Python gave and nobody can rename. The
student's own names, constants, docstrings, annotations and signatures are left out; comments, blanks and parentheses
are not in a tree. Hashes of all runs of ``K`` words are thinned out by *winnowing* (Schleimer, Wilkerson and Aiken,
2003): the smallest hash of every window of ``WINDOW`` neighbours stays. Any common run of ``K + WINDOW - 1`` words is
sure to be noticed, and none that is shorter than ``K``.

Since functions and statements outside of functions are taken one by one, their order does not matter.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

K = 24
"""Words of a run: about three lines. Shorter ones are shared by everybody who solves the same task."""

WINDOW = 8
"""Neighbouring runs of which one is kept."""


@dataclass(frozen=True)
class Print:
    """One hash with its place."""

    value: int
    unit: int  # the number of the function in its file
    start: int  # of its words
    first_line: int
    last_line: int


@dataclass(frozen=True)
class Fingerprint:
    """The winnowed hashes of one file.

    Attributes
    ----------
    prints : tuple of Print
        In the order of the file.
    """

    prints: tuple[Print, ...]

    @property
    def values(self) -> frozenset[int]:
        """The different hashes."""
        return frozenset(one.value for one in self.prints)


def fingerprint(source: str, k: int = K, window: int = WINDOW) -> Fingerprint:
    """The fingerprint of a Python file.

    Raises
    ------
    SyntaxError
        If the text is no Python, or nested too deeply to be read.
    """
    prints = []
    for number, words in enumerate(_units(source)):
        prints += _winnow(list(_runs(words, number, k)), window)
    return Fingerprint(tuple(prints))


def all_hashes(source: str, k: int = K) -> frozenset[int]:
    """The hashes of all runs, of a text that is to be subtracted from others."""
    return frozenset(run.value for number, words in enumerate(_units(source)) for run in _runs(words, number, k))


def _runs(words: list[tuple[str, int]], unit: int, k: int) -> Iterator[Print]:
    for start in range(len(words) - k + 1):
        run = words[start : start + k]
        digest = hashlib.blake2b(" ".join(word for word, _ in run).encode(), digest_size=8).digest()
        lines = [line for _, line in run]
        yield Print(int.from_bytes(digest, "big"), unit, start, min(lines), max(lines))


def _winnow(runs: list[Print], window: int) -> list[Print]:
    """The smallest hash of every window, the last one where several are equal."""
    chosen: dict[int, Print] = {}
    for start in range(max(len(runs) - window + 1, min(len(runs), 1))):
        best = min(reversed(runs[start : start + window]), key=lambda run: run.value)
        chosen[best.start] = best
    return list(chosen.values())


def _units(source: str) -> Iterator[list[tuple[str, int]]]:
    """The words of each function, and of each statement outside of functions, with their lines."""
    try:
        tree = ast.parse(source)
        own = _own_names(tree)
        functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
        units = [list(_block([statement], own, functions)) for statement in tree.body]
        while functions:  # also those within functions
            function = functions.pop(0)
            units.append(list(_block(function.body, own, functions)))
    except (RecursionError, ValueError, MemoryError) as error:  # null characters, nesting of hundreds of levels
        raise SyntaxError(str(error) or "nested too deeply") from None
    yield from units


def _block(
    body: Iterable[ast.stmt], own: frozenset[str], functions: list[ast.FunctionDef | ast.AsyncFunctionDef]
) -> Iterator[tuple[str, int]]:
    for statement in body:
        if isinstance(statement, (ast.Import, ast.ImportFrom, ast.Pass)):
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring, or a string in the place of a comment
        yield from _words(statement, statement.lineno, own, functions)


def _words(
    node: ast.AST, line: int, own: frozenset[str], functions: list[ast.FunctionDef | ast.AsyncFunctionDef]
) -> Iterator[tuple[str, int]]:
    """The words of a node, from the outside inwards."""
    line = getattr(node, "lineno", line)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        functions.append(node)
        return
    if isinstance(node, (ast.expr_context, ast.arguments, ast.arg)):
        return
    if isinstance(node, ast.AnnAssign):
        if node.value is not None:
            yield "Assign", line
            yield from _words(node.target, line, own, functions)
            yield from _words(node.value, line, own, functions)
        return
    yield _word(node, own), line
    for name, value in ast.iter_fields(node):
        if isinstance(value, list) and name in ("body", "orelse", "finalbody") and value:
            yield f"{name}(", line
            yield from _block(value, own, functions)
            yield ")", line
        elif isinstance(value, list):
            for member in value:
                if isinstance(member, ast.AST):
                    yield from _words(member, line, own, functions)
        elif isinstance(value, ast.AST):
            yield from _words(value, line, own, functions)


def _word(node: ast.AST, own: frozenset[str]) -> str:
    if isinstance(node, ast.Attribute):
        return f".{node.attr}" if node.attr in _numpy_names() else "."
    if isinstance(node, ast.Name):
        return node.id if node.id in _BUILTINS and node.id not in own else "name"
    if isinstance(node, ast.Constant):
        return "constant"
    return type(node).__name__


def _own_names(tree: ast.AST) -> frozenset[str]:
    """Names that the file binds itself, which may also be names of builtins."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(names | {node.name for node in ast.walk(tree) if isinstance(node, functions)})


_BUILTINS = frozenset(dir(builtins))


@cache
def _numpy_names() -> frozenset[str]:
    import numpy as np

    return frozenset({*dir(np), *dir(np.ndarray), *dir(np.linalg), *dir(np.lib.stride_tricks), *dir(dict), *dir(list)})
