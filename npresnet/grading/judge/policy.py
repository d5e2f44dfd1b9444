"""Which imports and names a submission may not use, checked before anything runs.

This is a policy, not a sandbox: it says early and with a line what is against the rules of the coursework, and can be
got around by anybody who tries. The locks of the process do not rely on it. What students write in good faith must
pass, so the list of what is refused is short, and everything below ``if __name__ == "__main__":`` is their own affair.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..parsing import NotPython, parsed
from . import idle

LIBRARY = frozenset({
    "__future__", "abc", "array", "bisect", "cmath", "collections", "concurrent", "contextlib", "copy", "dataclasses",
    "datetime", "decimal", "doctest", "enum", "fractions", "functools", "heapq", "itertools", "json", "logging", "math",
    "numbers", "operator", "pprint", "queue", "random", "re", "statistics", "string", "textwrap", "threading", "time",
    "timeit", "traceback", "types", "typing", "typing_extensions", "unittest", "warnings",
})  # fmt: skip
"""The part of the standard library that has nothing to do with other files, processes or the interpreter."""
LIMITED = {
    "sys": frozenset({
        "argv", "byteorder", "exit", "float_info", "maxsize", "path", "platform", "setrecursionlimit", "stderr",
        "stdout", "version", "version_info",
    }),
    "os": frozenset({"cpu_count", "environ", "getcwd", "getenv", "linesep", "name", "path", "sep"}),
}  # fmt: skip
"""Modules that are often imported and of which a few names are harmless."""
SOLVED_ELSEWHERE = frozenset({
    "autograd", "chainer", "cupy", "cv2", "flax", "jax", "jaxlib", "keras", "mxnet", "npresnet", "numba", "onnxruntime",
    "paddle", "scipy", "skimage", "sklearn", "tensorflow", "theano", "tinygrad", "torch", "torchvision",
})  # fmt: skip
"""Libraries in which the exercises are solved already, or that were not meant to be needed."""
NUMPY_REFUSED = frozenset({"ctypeslib", "distutils", "f2py"})
NUMPY_FILES = frozenset({
    "fromfile", "genfromtxt", "load", "loadtxt", "memmap", "open_memmap", "save", "savetxt", "savez",
    "savez_compressed",
})  # fmt: skip
BUILTINS_REFUSED = frozenset({"__import__", "breakpoint", "compile", "eval", "exec", "input", "open"})
INSIDES = frozenset({
    "__base__", "__bases__", "__builtins__", "__closure__", "__code__", "__globals__", "__import__", "__loader__",
    "__mro__", "__reduce__", "__reduce_ex__", "__spec__", "__subclasses__", "__traceback__", "co_code", "cr_frame",
    "f_back", "f_builtins", "f_code", "f_globals", "f_locals", "gi_frame", "tb_frame",
})  # fmt: skip
"""Attributes that lead from a value into the interpreter."""


@dataclass(frozen=True)
class Finding:
    """Something in a submission that the policy has a word to say on."""

    line: int
    message: str  # what, and what to do
    fatal: bool  # the submission is not run


def check_source(source: str, allow: Sequence[str] = ()) -> list[Finding]:
    """Look for refused imports and names in a submission, without running it.

    Parameters
    ----------
    source : str
    allow : sequence of str
        Modules that may be imported besides NumPy and the harmless part of the standard library.

    Returns
    -------
    list of Finding
        In the order of lines; a file that is not Python has one.
    """
    try:
        tree = parsed(source)
    except NotPython as error:
        message = f"this is not Python: {error.message}. Run the file yourself before handing it in"
        return [Finding(error.line or 1, message, True)]
    findings = set(_Policy(tree, frozenset(allow)).findings())
    return sorted(findings, key=lambda finding: (finding.line, finding.message))


class _Policy:
    """The rules, applied to one file."""

    def __init__(self, tree: ast.Module, allow: frozenset[str]) -> None:
        self._allow = allow
        guarded = {inner for node in tree.body if _runs_only_directly(node) for inner in ast.walk(node)}
        self._nodes = [node for node in ast.walk(tree) if node not in guarded]
        self._own = set(self._names_of_its_own())
        self._limited = dict(self._limited_modules())

    def findings(self) -> Iterator[Finding]:
        """Everything there is to say, in any order."""
        attributes_of = set()  # names that are only the part before a dot
        for node in self._nodes:
            if isinstance(node, ast.Attribute):
                attributes_of.add(node.value)
                yield from self._attribute(node.lineno, node.value, node.attr)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "setattr")
            ):
                name = node.args[1] if len(node.args) > 1 else None
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield from self._attribute(node.lineno, node.args[0], name.value)
        for node in self._nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._import(node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield from self._import_from(node, alias.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield from self._name(node, node in attributes_of)

    def _names_of_its_own(self) -> Iterator[str]:
        for node in self._nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.arg):
                yield node.arg

    def _limited_modules(self) -> Iterator[tuple[str, str]]:
        """Names that stand for a limited module, with the name of that module."""
        for node in self._nodes:
            if isinstance(node, ast.Import):
                for name in node.names:
                    if name.name in LIMITED and name.name not in self._allow:
                        yield name.asname or name.name, name.name

    def _import(self, line: int, name: str) -> Iterator[Finding]:
        """``name`` is a module, or a module and a name in it."""
        parts = name.split(".")
        if any(".".join(parts[:length]) in self._allow for length in range(1, len(parts) + 1)):
            return
        top = parts[0]
        if top == "numpy":
            if NUMPY_REFUSED.intersection(parts[1:2]):
                yield Finding(line, f"numpy.{parts[1]} is not for submissions: numpy itself is enough", True)
        elif top in idle.NAMES:
            yield Finding(line, f"{top} is not there when a submission is judged: its calls do nothing", False)
        elif top in SOLVED_ELSEWHERE:
            yield Finding(line, f"import of {top}: the exercises are to be solved with numpy alone; remove it", True)
        elif top not in LIBRARY and top not in LIMITED:
            yield Finding(
                line, f"import of {top}: only numpy and modules such as math and itertools may be imported", True
            )

    def _import_from(self, node: ast.ImportFrom, name: str) -> Iterator[Finding]:
        module = node.module or ""
        if node.level:
            yield Finding(
                node.lineno, "a submission is one file: put what you import from your own files into it", True
            )
        elif module in LIMITED and module not in self._allow:
            if name not in LIMITED[module]:
                yield _limited(node.lineno, module, name)
        else:
            yield from self._import(node.lineno, f"{module}.{name}")

    def _name(self, node: ast.Name, before_a_dot: bool) -> Iterator[Finding]:
        if (node.id in BUILTINS_REFUSED and node.id not in self._own) or node.id in INSIDES:
            yield Finding(node.lineno, f"{node.id} is not for submissions: remove it", True)
        elif node.id in self._limited and not before_a_dot:
            yield Finding(node.lineno, f"{node.id} is used by itself: write which of its names you mean", True)

    def _attribute(self, line: int, owner: ast.expr, name: str) -> Iterator[Finding]:
        of = owner.id if isinstance(owner, ast.Name) else ""
        if name in INSIDES:
            yield Finding(line, f"the attribute {name} is not for submissions: find another way", True)
        elif of in self._limited and name not in LIMITED[self._limited[of]]:
            yield _limited(line, self._limited[of], name)
        elif of in ("np", "numpy") and name in NUMPY_REFUSED:
            yield Finding(line, f"numpy.{name} is not for submissions: numpy itself is enough", True)
        elif of in ("np", "numpy") and name in NUMPY_FILES:
            yield Finding(line, f"{of}.{name} is about files, and none is there when a submission is judged", False)


def _limited(line: int, module: str, name: str) -> Finding:
    return Finding(line, f"{module}.{name} is not for submissions: remove it", True)


def _runs_only_directly(node: ast.stmt) -> bool:
    """Whether a statement is ``if __name__ == "__main__":``."""
    if not isinstance(node, ast.If) or node.orelse:
        return False
    return ast.unparse(node.test) in ("__name__ == '__main__'", "'__main__' == __name__")
