"""Submissions to the coursework by other hands than the solution's and the bank's, in many styles: right ones, and
wrong ones with one mistake each.

Right submissions are files of ``coursework/right``, each of which says in its docstring what it solves. Wrong ones are
written down as single functions in ``coursework/wrong``, decorated ``@wrong(name, part, fails=...)``. The decorator is
never run: such a function takes the place of its namesake in a right submission, and the text that results is a
submission with that mistake and no other. Functions decorated with the same name belong together; what is not decorated
(imports, helpers) is added to every submission of its file.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from npresnet.grading import solution
from npresnet.grading.submission import read_submission

FOLDER = Path(__file__).resolve().parent / "coursework"
BASE = FOLDER / "right" / "einsum_windows.py"
"""The right submission into which mistakes are put."""
FUNCTIONS = tuple(
    name
    for name, value in vars(solution).items()
    if getattr(value, "__module__", "") == solution.__name__ and not name.startswith("_")
)
"""The functions of the coursework, in order."""


class Right(NamedTuple):
    """A submission that is right as far as it goes."""

    name: str
    path: Path  # .py or .ipynb
    solves: tuple[str, ...]  # functions

    @property
    def whole(self) -> bool:
        """Whether it solves everything, without the help of stand-ins."""
        return set(self.solves) == set(FUNCTIONS)


class Wrong(NamedTuple):
    """A submission with one mistake."""

    mistake: str  # as it is called in the bank
    part: str  # the function that is wrong
    source: str
    fails: tuple[str, ...]  # its outputs that are wrong; the others are right


def right_submissions() -> list[Right]:
    """All right submissions, by name."""
    paths = sorted(path for path in (FOLDER / "right").iterdir() if path.suffix in (".py", ".ipynb"))
    return [Right(path.stem, path, _solved(path)) for path in paths]


def wrong_submissions() -> list[Wrong]:
    """All wrong submissions, file by file."""
    base = BASE.read_text(encoding="utf-8")
    return [made for path in sorted((FOLDER / "wrong").glob("*.py")) for made in _wrong_of(path, base)]


def source_of(path: Path) -> str:
    """The Python text of a submission, as the grader reads it."""
    return read_submission(path).source


def load(source: str, name: str) -> ModuleType:
    """Run a submission's text as a module of that name."""
    module = ModuleType(name)
    module.__file__ = f"{name}.py"
    sys.modules[name] = module  # dataclasses look themselves up there, even those made when a function is called
    exec(compile(source, module.__file__, "exec"), vars(module))
    return module


def _solved(path: Path) -> tuple[str, ...]:
    """The functions after ``Solves:`` in the first paragraphs of a submission."""
    text = path.read_text(encoding="utf-8").replace("\\n", "\n")
    found = re.search(r"^\W*Solves: ([\w\s,]+?)\s*(?:$\n^\W*$|\"\"\")", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{path.name}: expected a paragraph 'Solves: ...' with names of functions, or 'all'")
    names = tuple(re.findall(r"\w+", found[1]))
    if names == ("all",):
        return FUNCTIONS
    if not set(names) <= set(FUNCTIONS):
        raise ValueError(f"{path.name}: not functions of the coursework: {sorted(set(names) - set(FUNCTIONS))}")
    return names


def _wrong_of(path: Path, base: str) -> list[Wrong]:
    """The submissions that a file of wrong functions describes."""
    text = path.read_text(encoding="utf-8")
    shared: list[str] = []
    marks: dict[str, ast.Call] = {}
    functions: dict[str, list[ast.FunctionDef]] = {}
    for node in ast.parse(text).body:
        mark = _mark_of(node)
        if mark is None:
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # the docstring
                shared.append(ast.get_source_segment(text, node) or "")
            continue
        assert isinstance(node, ast.FunctionDef)
        name = ast.literal_eval(mark.args[0])
        marks.setdefault(name, mark)
        functions.setdefault(name, []).append(node)
    result = []
    for name, nodes in functions.items():
        part = ast.literal_eval(marks[name].args[1])
        fails = next(ast.literal_eval(keyword.value) for keyword in marks[name].keywords if keyword.arg == "fails")
        own = [ast.get_source_segment(text, node) or "" for node in nodes]
        kept = _without(base, {node.name for node in nodes})
        source = "\n\n\n".join([kept, *shared, *own]) + "\n"
        result.append(Wrong(name, part, source, (fails,) if isinstance(fails, str) else tuple(fails)))
    return result


def _mark_of(node: ast.stmt) -> ast.Call | None:
    """The decorator ``wrong(...)`` of a function, if it has one."""
    if isinstance(node, ast.FunctionDef):
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "wrong":
                return decorator
    return None


def _without(source: str, names: set[str]) -> str:
    """A module's text without its functions of some names."""
    kept = [
        ast.get_source_segment(source, node) or ""
        for node in ast.parse(source).body
        if not (isinstance(node, ast.FunctionDef) and node.name in names)
    ]
    return "\n\n\n".join(kept[1:])  # not the docstring: it says that all is right
