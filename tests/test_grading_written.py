"""Which functions of a submission are written."""

from __future__ import annotations

import pytest

from npresnet.grading.parts import PARTS
from npresnet.grading.solution_source import solution_text
from npresnet.grading.written import written_names


def test_stubs_are_not_written():
    source = '''
def a(x):
    """Text."""
    raise NotImplementedError("a")
def b(x):
    pass
def c(x):
    ...
def d(x):
    """Text."""
    raise NotImplementedError
def e(x):
    return x
def f(x):
    raise ValueError
'''
    assert written_names(source) == {"e", "f"}


def test_all_ways_to_bind_a_name():
    source = """
import numpy as np, os.path
from math import pi as p, e
a = b = lambda x: x
c, (d, *rest) = 1, (2, 3)
class C:
    inner = 1
    def method(self): return 1
if a:
    def f(): return 1
else:
    g = 1
try:
    h = 2
finally:
    i = 3
j: int = 4
"""
    names = {"np", "os", "p", "e", "a", "b", "c", "d", "rest", "C", "f", "g", "h", "i", "j"}
    assert written_names(source) == names


def test_a_function_that_became_a_stub_again():
    assert written_names("def f():\n    return 1\ndef f():\n    raise NotImplementedError\n") == set()


@pytest.mark.parametrize("source", ["def f(:", "\0", "(" * 1000, ""])
def test_what_is_no_python_has_no_names(source):
    assert written_names(source) == set()


def test_the_solution_has_written_everything():
    functions = {function for part in PARTS.values() for function in part.functions}
    assert functions <= written_names(solution_text())
