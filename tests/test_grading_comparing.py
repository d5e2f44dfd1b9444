"""When a returned value is right, and what is said when it is not."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from npresnet.grading.comparing import ROUNDOFF, compare
from npresnet.grading.part import Case, Expected, Step
from npresnet.grading.texts import Texts

X = np.arange(6.0).reshape(2, 3)
EXACT = {"y": Expected(X, np.full((2, 3), 10.0)), "grads/a": Expected(X, 1.0), "grads/b": Expected(X[0], 1.0)}


@pytest.fixture
def case():
    script = (Step("f", ("x",), ("y", "grads", "none")),)
    return Case("f", "a criterion", {"N": 2}, 7, "float64", {"x": X}, script, ("y", "grads", "none"))


def result(outputs=None, **changes):
    """What came back: by default everything as it should be."""
    right = {"y": X, "grads/a": X, "grads/b": X[0]} if outputs is None else outputs
    values = {"wrong_types": {"none": "None"}, "raised": None, "inputs_changed": (), "repeated": True, "seconds": 0.1}
    return SimpleNamespace(outputs=right, **{**values, **changes})


def test_what_is_right_has_no_failures(case):
    assert compare(case, EXACT, result(), "y") == [None]
    assert compare(case, EXACT, result(), "grads") == [None, None]
    assert compare(case, EXACT, result(), "none") == [None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("factor", "right"), [(0.99, True), (1.01, False)])
def test_the_bound_times_the_roundoff_of_single_precision_is_allowed(case, dtype, factor, right):
    y = np.zeros((2, 3), dtype)
    y[1, 2] = factor * 10 * ROUNDOFF
    expected = {"y": Expected(np.zeros((2, 3)), np.full((2, 3), 10.0))}
    (failure,) = compare(case, expected, result({"y": y}), "y")
    assert (failure is None) == right
    if failure is not None:
        assert (failure.kind, failure.position, failure.expected) == ("values", (1, 2), 0.0)
        assert failure.error == pytest.approx(10.1 * ROUNDOFF, rel=1e-6)
        assert failure.allowed == pytest.approx(10 * ROUNDOFF)
        assert failure.wrong == pytest.approx(1 / 6)
        assert (failure.shapes, failure.settings, failure.seed) == ({"x": (2, 3)}, {"N": 2}, 7)


def test_the_worst_position_is_where_the_bound_is_exceeded_most(case):
    y = X.copy()
    y[0, 1] += 1
    y[1, 0] -= 3
    (failure,) = compare(case, EXACT, result({"y": y}), "y")
    assert (failure.position, failure.expected, failure.got, failure.wrong) == ((1, 0), 3.0, 0.0, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("y", "kind", "message"),
    [
        (X.T.copy(), "shape", r"y has shape \(3, 2\), expected \(2, 3\)"),
        (X[0], "shape", r"y has shape \(3,\), expected \(2, 3\)"),
        (X.astype(int), "dtype", "y has dtype int64, expected float32 or float64"),
        (X.astype(np.float16), "dtype", "float16"),
        (X.astype(bool), "dtype", "bool"),
        (X.astype(complex), "dtype", "complex128"),
        (np.where(X == 4, np.nan, X), "not finite", r"y is not finite at \(1, 1\)"),
        (np.where(X == 5, np.inf, X), "not finite", r"\(1, 2\)"),
    ],
)
def test_what_is_wrong_is_named(case, y, kind, message):
    (failure,) = compare(case, EXACT, result({"y": y}), "y")
    assert failure.kind == kind
    assert re.search(message, failure.message)


def test_members_of_a_dict_fail_one_by_one(case):
    first, second = compare(case, EXACT, result({"grads/a": X, "grads/b": X[1]}), "grads")
    assert first is None
    assert (second.kind, second.output) == ("values", "grads/b")
    first, second = compare(case, EXACT, result({"grads/b": X[0]}), "grads")
    assert (first.kind, first.output, second) == ("missing", "grads/a", None)


def test_types(case):
    (failure,) = compare(case, EXACT, result({}, wrong_types={"y": "a list"}), "y")
    assert (failure.kind, failure.message) == ("type", "y should be an array, but is a list")
    (failure,) = compare(case, EXACT, result({}, wrong_types={"grads": "a tuple"}), "grads")
    assert failure.message == "grads should be a dict of arrays, but is a tuple"
    (failure,) = compare(case, EXACT, result({"none": X}, wrong_types={}), "none")
    assert failure.message == "none should be None here"
    (failure,) = compare(case, EXACT, result({"none/x": X}, wrong_types={}), "none")  # a dict is not None
    assert failure.message == "none should be None here"
    (failure,) = compare(case, EXACT, result({}), "y")
    assert (failure.kind, failure.message) == ("missing", "y was not returned")


def test_exceptions_and_stubs(case):
    raised = SimpleNamespace(type="ValueError", message="no", line=12)
    (failure,) = compare(case, EXACT, result(raised=raised), "y")
    assert (failure.kind, failure.message, failure.line) == ("exception", "ValueError: no", 12)
    raised = SimpleNamespace(type="NotImplementedError", message="conv", line=3)
    (failure,) = compare(case, EXACT, result(raised=raised), "y")
    assert (failure.kind, failure.message) == ("missing", "not written yet")


def test_right_values_with_side_effects_are_not_right(case):
    (failure,) = compare(case, EXACT, result(inputs_changed=("x",)), "y")
    assert (failure.kind, failure.message) == ("mutated", "the function writes to its argument x")
    (failure,) = compare(case, EXACT, result(repeated=False), "y")
    assert failure.kind == "unstable"


def test_in_chinese(case):
    (failure,) = compare(case, EXACT, result({}), "y", Texts("zh"))
    assert "y" in failure.message
    assert "returned" not in failure.message
