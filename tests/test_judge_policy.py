"""What students write in good faith passes the policy; what is against the rules is named with its line."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from npresnet.grading import solution
from npresnet.grading.judge import Finding, check_source

HONEST = '''
"""My solution."""
from __future__ import annotations

import os
import sys
import time
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from os import path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided
from numpy.linalg import norm

sys.setrecursionlimit(2000)
np.random.seed(0)
DEBUG = os.environ.get("DEBUG") == "1"
print(os.path.join("a", "b"), file=sys.stderr)


class Layer:
    """A layer."""

    __slots__ = ("cache", "name")

    def __init__(self, **options):
        super().__init__()
        self.__dict__.update(options)
        self.name = self.__class__.__name__

    def __call__(self, x):
        return self.eval(x)

    def eval(self, x):
        return x

    def compile(self):
        return vars(self), type(self).__name__, getattr(self, "name", None)

    def __getattr__(self, name):
        raise AttributeError(name)


def open(valve):
    return valve


def input(x, eval=None):
    return open(x), eval


def f(x):
    model = Layer()
    model.eval(x)
    model.compile()
    return np.einsum("ij,jk->ik", x, x), locals(), globals().get("DEBUG"), f.__name__, f.__doc__


if __name__ == "__main__":
    import torch
    from my_tests import check

    print(eval("1 + 1"), open("weights.npz"), torch.nn.functional.__globals__, check)
'''


def fatal(source: str, *allow: str) -> list[Finding]:
    return [finding for finding in check_source(textwrap.dedent(source), allow) if finding.fatal]


def test_honest_code_passes() -> None:
    assert fatal(HONEST) == []
    assert [finding.message.split()[0] for finding in check_source(HONEST)] == ["matplotlib"]


def test_the_solution_and_the_submissions_of_others_pass() -> None:
    assert check_source(Path(solution.__file__).read_text()) == []
    for file in sorted((Path(__file__).parent / "coursework" / "right").glob("*.py")):
        assert fatal(file.read_text()) == [], file.name


@pytest.mark.parametrize(("source", "words"), [
    ("import torch", "import of torch: the exercises are to be solved with numpy alone"),
    ("import torch.nn.functional as F", "import of torch"),
    ("from npresnet import ops", "import of npresnet"),
    ("from scipy.signal import convolve2d", "import of scipy"),
    ("def f():\n    import numba", "import of numba"),
    ("import subprocess", "import of subprocess: only numpy and modules such as math"),
    ("import socket, ctypes", "import of ctypes"),
    ("from .helpers import im2col", "a submission is one file"),
    ("from . import helpers", "a submission is one file"),
    ("import numpy.f2py", "numpy.f2py"),
    ("from numpy import ctypeslib", "numpy.ctypeslib"),
    ("import numpy as np\nnp.ctypeslib", "numpy.ctypeslib"),
    ("import os\nos.system('ls')", "os.system is not for submissions"),
    ("import os as o\no.fork()", "os.fork"),
    ("from os import fork", "os.fork"),
    ("from sys import *", "sys.*"),
    ("import sys\nsys._getframe()", "sys._getframe"),
    ("import sys\ngetattr(sys, 'modules')", "sys.modules"),
    ("import sys\nx = sys", "sys is used by itself"),
    ("exec('x = 1')", "exec is not for submissions"),
    ("y = eval('1')", "eval is not"),
    ("__import__('torch')", "__import__ is not"),
    ("open('solution.py')", "open is not"),
    ("(lambda: 0).__code__", "__code__"),
    ("().__class__.__bases__[0].__subclasses__()", "__bases__"),
    ("getattr(f, '__globals__')", "__globals__"),
    ("__builtins__", "__builtins__"),
    ("try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame.f_back", "__traceback__"),
    ("import gc", "import of gc"),
    ("import inspect", "import of inspect"),
    ("import pickle", "import of pickle"),
    ("import importlib", "import of importlib"),
    ("x = (1", "this is not Python: '(' was never closed"),
    ("def f(:\n", "this is not Python"),
    ("x = '\0'", "this is not Python"),
    ("if __name__ == '__main__':\n    pass\nelse:\n    import torch", "import of torch"),
])  # fmt: skip
def test_what_is_refused_is_named(source: str, words: str) -> None:
    messages = [finding.message for finding in fatal(source)]
    assert any(words in message for message in messages), messages


def test_lines_are_those_of_the_file() -> None:
    source = "import numpy as np\n\n\ndef f(x):\n    import torch\n    return eval('x')\n"
    assert [finding.line for finding in check_source(source)] == [5, 6]


def test_every_line_is_named_once() -> None:
    assert len(check_source("eval('1') + eval('2')\neval('3')")) == 2


def test_more_can_be_allowed() -> None:
    assert fatal("from scipy.signal import convolve2d", "scipy.signal") == []
    assert fatal("import scipy.signal", "scipy") == []
    assert fatal("import scipy.ndimage", "scipy.signal") != []
    assert fatal("import os\nos.listdir()", "os") == []
    assert fatal("from os import listdir", "os") == []


def test_files_are_mentioned_but_not_refused() -> None:
    findings = check_source("import numpy as np\nw = np.load('weights.npy')")
    assert [(finding.line, finding.fatal) for finding in findings] == [(2, False)]


@pytest.mark.parametrize("source", ["(" * 5000 + ")" * 5000, "-" * 100_000 + "1", "x" + ".a" * 50_000, ""])
def test_no_file_is_too_strange(source: str) -> None:
    assert all(isinstance(finding, Finding) for finding in check_source(source))


def test_formulas_in_comments_are_no_news(recwarn: pytest.WarningsRecorder) -> None:
    assert check_source('"""The sum $\\sum_i x_i$ and \\d."""\nx = 1 is 1\n') == []
    assert len(recwarn) == 0


def test_a_file_of_any_length_has_an_answer() -> None:
    (finding,) = check_source("x = 1\n" * 400_000)
    assert "characters" in finding.message
