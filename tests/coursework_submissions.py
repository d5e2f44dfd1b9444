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
    base = _statements(BASE)[1:]  # not the docstring: it says that all is right
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


class Statement(NamedTuple):
    """A top-level statement of a file."""

    node: ast.stmt
    text: str  # without decorators

    @property
    def name(self) -> str:
        """Of a function."""
        return self.node.name if isinstance(self.node, ast.FunctionDef) else ""

    @property
    def mark(self) -> ast.Call | None:
        """The decorator ``wrong(...)``, if there is one."""
        for decorator in getattr(self.node, "decorator_list", ()):
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "wrong":
                return decorator
        return None


def _statements(path: Path) -> list[Statement]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    return [Statement(node, "\n".join(lines[node.lineno - 1 : node.end_lineno])) for node in ast.parse(text).body]


def _wrong_of(path: Path, base: list[Statement]) -> list[Wrong]:
    """The submissions that a file of wrong functions describes."""
    shared: list[str] = []
    functions: dict[str, list[Statement]] = {}  # by mistake
    for statement in _statements(path)[1:]:
        if statement.mark is None:
            shared.append(statement.text)
        else:
            functions.setdefault(ast.literal_eval(statement.mark.args[0]), []).append(statement)
    result = []
    for name, statements in functions.items():
        mark = statements[0].mark
        assert mark is not None
        fails = ast.literal_eval(mark.keywords[0].value)
        replaced = {statement.name for statement in statements}
        kept = [statement.text for statement in base if statement.name not in replaced]
        source = "\n\n\n".join([*kept, *shared, *(statement.text for statement in statements)]) + "\n"
        result.append(
            Wrong(name, ast.literal_eval(mark.args[1]), source, (fails,) if isinstance(fails, str) else fails)
        )
    return result
