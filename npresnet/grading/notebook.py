"""The part of a notebook that is handed in: its definitions, without the cells that try them out.

A notebook is full of plots, prints and calls that failed once. None of that is to be marked, and all of it could break
the marking. So of every code cell we keep imports, functions, classes and plain assignments, and turn everything else
into comments: lines that only Jupyter understands, cells that are no Python, statements that merely do something, and
assignments that call a function of the notebook or rest on something that was left out.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
from typing import Any

MAGIC = re.compile(r"\s*(%%?[A-Za-z]|!|\?|[\w.]+\?{1,2}\s*$)")
"""A line for Jupyter: ``%matplotlib inline``, ``!ls``, ``?np.pad``, ``np.pad?``."""
FOR_THE_EYE = ("matplotlib", "IPython", "ipywidgets", "seaborn", "tqdm", "npresnet")
"""Modules of cells that show or check something; what rests on them is left out."""


class NotebookError(ValueError):
    """Text that is not a notebook."""


def definitions(text: str) -> str:
    """Python text with the definitions of all code cells, in their order; one line for every line of the cells.

    Parameters
    ----------
    text : str
        The JSON of an ``.ipynb`` file.

    Raises
    ------
    NotebookError
        If it is not one.
    """
    try:
        cells = json.loads(text)["cells"]
        sources = [_source(cell) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotebookError(
            f"not a Jupyter notebook ({type(error).__name__}: {error}); save it anew in Jupyter"
        ) from error
    known = set(dir(builtins))
    own: set[str] = set()  # functions and classes of the notebook
    return "\n\n".join(_keep_definitions(source, known, own) for source in sources) + "\n"


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _keep_definitions(source: str, known: set[str], own: set[str]) -> str:
    """One cell with everything but definitions as comments; adds the names that it defines."""
    lines = source.splitlines()
    if lines and lines[0].lstrip().startswith("%%"):
        return _commented(lines)
    lines = [_without_magic(line) for line in lines]
    try:
        statements = ast.parse("\n".join(lines)).body
    except (SyntaxError, ValueError, RecursionError):
        # A cell with a function in it is meant to be handed in: leave it, so that its error is seen and explained.
        return "\n".join(lines) if re.search(r"^\s*(def|class) ", source, re.MULTILINE) else _commented(lines)
    for statement in statements:
        if _is_definition(statement, known, own):
            known |= _defined_names(statement)
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                own.add(statement.name)
            continue
        for number in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
            lines[number] = f"# {lines[number]}"
    return "\n".join(lines)


def _is_definition(statement: ast.stmt, known: set[str], own: set[str]) -> bool:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return True
    if isinstance(statement, ast.Import):
        return not any(_is_for_the_eye(alias.name) for alias in statement.names)
    if isinstance(statement, ast.ImportFrom):
        return not _is_for_the_eye(statement.module or "")
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
        return False
    inner = {name for node in ast.walk(statement.value) for name in _bound_inside(node)}
    loaded = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    called = {
        node.func.id for node in ast.walk(statement) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return loaded - inner <= known and not called & own


def _bound_inside(node: ast.AST) -> set[str]:
    """Names that an expression itself binds: parameters of a lambda, variables of a comprehension."""
    if isinstance(node, ast.arg):
        return {node.arg}
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id}
    return set()


def _defined_names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _is_for_the_eye(module: str) -> bool:
    return module.split(".")[0] in FOR_THE_EYE


def _without_magic(line: str) -> str:
    """A line for Jupyter as ``pass`` and a comment, so that a block that consists of it stays valid."""
    if not MAGIC.match(line):
        return line
    code = line.lstrip()
    return f"{line[: len(line) - len(code)]}pass  # {code}"


def _commented(lines: list[str]) -> str:
    return "\n".join(f"# {line}" for line in lines)
