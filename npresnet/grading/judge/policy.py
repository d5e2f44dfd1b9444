"""Which imports and names a submission may not use, checked before anything runs.

This is a policy, not a sandbox: it says early and with a line what is against the rules of the coursework, and it can be
got around by anybody who tries. The locks of the process do not rely on it.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LIBRARY = frozenset(
    "__future__ abc array bisect cmath collections contextlib copy dataclasses datetime decimal enum fractions functools"
    " heapq itertools json logging math numbers operator pprint random re statistics string textwrap time timeit traceback"
    " types typing typing_extensions unittest warnings doctest".split()
)
"""The part of the standard library that has nothing to do with other files, processes or the interpreter."""
IGNORED = frozenset({"matplotlib"})
"""Often left over from a notebook; not there when a submission is judged, but no reason to refuse it."""
NUMPY_REFUSED = frozenset({"f2py", "distutils", "ctypeslib"})
SOLVED_ELSEWHERE = frozenset(
    "npresnet torch torchvision tensorflow keras jax jaxlib flax cv2 scipy sklearn skimage cupy mxnet paddle onnxruntime"
    " autograd tinygrad chainer theano numba".split()
)
"""Libraries in which the exercises are solved already (or that were not meant to be needed)."""
BUILTINS_REFUSED = frozenset("exec eval compile __import__ open input breakpoint".split())
DUNDERS = frozenset(
    "__name__ __doc__ __file__ __all__ __version__ __author__ __main__ __annotations__ __slots__ __post_init__ __wrapped__"
    " __debug__ __array__ __array_interface__ __match_args__ __qualname__ __module__".split()
)
_ENTRANCES = frozenset(
    "__class__ __bases__ __base__ __mro__ __subclasses__ __globals__ __code__ __closure__ __builtins__ __dict__ __loader__"
    " __spec__ __import__ __getattribute__ __reduce__ __reduce_ex__ __self__ __func__ __traceback__ __context__ __cause__"
    " __init_subclass__ __subclasshook__ __del__ __prepare__ __path__ __cached__ __package__ __weakref__".split()
)
_MAY_BE_DEFINED = frozenset("__class__ __dict__ __weakref__ __init_subclass__".split())
_FRAMES = frozenset("f_back f_globals f_locals f_builtins f_code gi_frame cr_frame tb_frame tb_next co_code".split())
NUMPY_FILES = frozenset(
    "load save savez savez_compressed loadtxt savetxt genfromtxt fromfile tofile memmap open_memmap DataSource".split()
)


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
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", None) or str(error) or "it is nested too deeply"
        return [Finding(line, f"this is not Python: {reason}. Run the file yourself before handing it in", True)]
    try:
        findings = {(finding.line, finding.message): finding for finding in _findings(tree, frozenset(allow))}
    except RecursionError:
        return [Finding(1, "an expression is nested too deeply; write it in several lines", True)]
    return sorted(findings.values(), key=lambda finding: finding.line)


def _findings(tree: ast.Module, allow: frozenset[str]) -> Iterator[Finding]:
    own_names = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    } | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own_names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    guarded = _only_when_run_directly(tree)
    for node in ast.walk(tree):
        if node in guarded:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from _import(name.name, node.lineno, allow)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield Finding(
                    node.lineno, "a submission is one file: put what you import from your own files into it", True
                )
            else:
                for name in node.names:
                    yield from _import(f"{node.module}.{name.name}", node.lineno, allow)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in BUILTINS_REFUSED and node.id not in own_names:
                yield Finding(node.lineno, f"{node.id}() is not for submissions; remove it", True)
            elif node.id in _ENTRANCES:
                yield Finding(node.lineno, f"{node.id} is not for submissions; remove it", True)
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node, node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "setattr"):
            text = node.args[1] if len(node.args) > 1 else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield from _attribute(node, text.value)


def _only_when_run_directly(tree: ast.Module) -> set[ast.AST]:
    """Nodes below ``if __name__ == "__main__":``, which the judge does not run."""
    found: set[ast.AST] = set()
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) in (
            "__name__ == '__main__'",
            "'__main__' == __name__",
        ):
            for inner in node.body:
                found.update(ast.walk(inner))
    return found


def _import(name: str, line: int, allow: frozenset[str]) -> Iterator[Finding]:
    """``name`` is a module, or a module and a name in it."""
    parts = name.split(".")
    top = parts[0]
    if top in allow or any(".".join(parts[:length]) in allow for length in range(1, len(parts) + 1)):
        return
    if top == "numpy":
        if len(parts) > 1 and parts[1] in NUMPY_REFUSED:
            yield Finding(line, f"numpy.{parts[1]} is not for submissions; numpy itself is enough", True)
        elif len(parts) > 1 and parts[-1] in NUMPY_FILES:
            yield Finding(line, f"{name} is for files, which are not there when a submission is judged", False)
    elif top in IGNORED:
        yield Finding(line, f"{top} is not there when a submission is judged; put plots under if __name__ == ...", False)
    elif top in SOLVED_ELSEWHERE:
        yield Finding(line, f"import of {top}: the exercises are to be solved with numpy alone; remove it", True)
    elif top not in LIBRARY:
        yield Finding(
            line,
            f"import of {top}: only numpy and modules such as math, itertools and dataclasses may be imported; remove it",
            True,
        )


def _attribute(node: ast.expr, name: str) -> Iterator[Finding]:
    if name in _FRAMES or (name in _ENTRANCES and not _harmless_use(node, name)):
        yield Finding(node.lineno, f"the attribute {name} is not for submissions; find another way", True)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy"):
        if name in NUMPY_REFUSED:
            yield Finding(node.lineno, f"numpy.{name} is not for submissions; remove it", True)
        elif name in NUMPY_FILES:
            yield Finding(node.lineno, f"np.{name} is for files, which are not there when a submission is judged", False)


def _harmless_use(node: ast.expr, name: str) -> bool:
    """``type(x).__name__``'s longer form ``x.__class__.__name__`` is common and harmless enough."""
    return name == "__class__"


_ = builtins
