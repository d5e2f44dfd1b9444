"""What students are told of a function, taken from ``solution.py``: its signature and its docstring alone."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from ..part import Part
from ..solution_source import needed_by, solution_functions, solution_text
from ..texts import Texts
from .docstrings import localized


@dataclass(frozen=True)
class Function:
    """A public function of the solution.

    Attributes
    ----------
    name : str
    parameters : str
        As they are written between the parentheses, without type hints: ``x, kernel_size, stride=1``.
    docstring : str
        In English, without indentation and without the markup of Sphinx.
    body : str
        The statements after the docstring, without indentation; the teacher's alone.
    private : tuple of str
        Private functions that it calls, directly or through others.
    """

    name: str
    parameters: str
    docstring: str
    body: str
    private: tuple[str, ...]

    @property
    def heading(self) -> str:
        """The first line of the definition."""
        return f"def {self.name}({self.parameters}):"

    def stub(self, texts: Texts) -> str:
        """The definition as students get it."""
        return f'{self.heading}\n{self._docstring(texts)}\n    raise NotImplementedError("{self.name}")\n'

    def _docstring(self, texts: Texts) -> str:
        text = localized(self.docstring, texts.language)
        closing = "\n" if "\n" in text else ""
        return textwrap.indent(f'"""{text}{closing}"""', "    ")


@functools.cache
def public_functions() -> dict[str, Function]:
    """All functions that students write, by name, in the order of the file."""
    return {name: _function(node) for name, node in solution_functions().items() if not _is_private(name)}


def private_functions() -> dict[str, str]:
    """The text of the private functions, by name; the teacher's alone."""
    return {name: _plain(node, solution_text()) for name, node in solution_functions().items() if _is_private(name)}


def _is_private(name: str) -> bool:
    return name.startswith("_")


def _function(node: ast.FunctionDef) -> Function:
    text = solution_text()
    docstring = ast.get_docstring(node, clean=False)
    assert docstring is not None  # tested
    body = _lines(text, node.body[1].lineno, node.end_lineno)
    private = needed_by(node.name, follow=_is_private)
    return Function(node.name, _parameters(node.args, text), _readable(docstring), body, private)


def _plain(node: ast.FunctionDef, text: str) -> str:
    body = textwrap.indent(_lines(text, node.body[0].lineno, node.end_lineno), "    ")
    return f"def {node.name}({_parameters(node.args, text)}):\n{body}\n"


def _lines(text: str, first: int, last: int | None) -> str:
    return textwrap.dedent("\n".join(text.splitlines()[first - 1 : last]))


def _parameters(arguments: ast.arguments, text: str) -> str:
    """Parameters without type hints; defaults as they are written (``1e-5``, not ``1e-05``)."""
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        raise ValueError("functions of the coursework have plain parameters")
    required = len(arguments.args) - len(arguments.defaults)
    defaults = [ast.get_source_segment(text, default) for default in arguments.defaults]
    return ", ".join(
        argument.arg if index < required else f"{argument.arg}={defaults[index - required]}"
        for index, argument in enumerate(arguments.args)
    )


def _readable(docstring: str) -> str:
    """A docstring for people: no roles of Sphinx, no marks of literal blocks."""
    text = re.sub(r":func:`([^`]*)`", r"`\1`", inspect.cleandoc(docstring))
    return re.sub(r"^ *::\n\n", "", text, flags=re.MULTILINE)


def functions_of(parts: Sequence[Part]) -> list[Function]:
    """The functions that these parts are about, in the order of the file.

    A backward function comes with its forward function, as the two share a cache; a part without stand-ins needs all.
    """
    wanted = {name for part in parts for name in part.functions}
    if any(not part.stand_ins for part in parts):
        wanted |= set(public_functions())
    return [function for name, function in public_functions().items() if name in wanted]
