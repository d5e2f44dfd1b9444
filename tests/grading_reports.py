"""Reports of submissions, made by hand and at random, for the tests of what is made from them."""

from __future__ import annotations

from hypothesis import strategies as st

from npresnet.grading.marks import Cell, Failure, PartMark, Report

HOSTILE = '<script>alert("x")</script> & \x1b[31mred\x1b[0m \x00 \u202e `code` ``` | *b* [a](b:x) ]]> \r\n \ud800'
"""What a student might put into the message of an exception."""


def failure(kind: str = "values", **changes: object) -> Failure:
    """A failure with every field filled."""
    values: dict[str, object] = {
        "kind": kind,
        "message": "dx has wrong values",
        "settings": {"N": 1, "stride": 2},
        "seed": 20250101,
        "shapes": {"x": (1, 2, 5, 4), "weight": (3, 2, 3, 3)},
        "output": "dx",
        "position": (0, 1, 4, 3),
        "expected": 0.515625,
        "got": -0.703125,
        "error": 1.21875,
        "allowed": 1e-6,
        "wrong": 0.25,
        "mistake": "conv_dx_without_flip",
        "hint": "The kernel has to be turned by 180 degrees.",
        "section": "01_convolution.ipynb#backward",
    }
    return Failure(**{**values, **changes})  # type: ignore[arg-type]


def cell(
    criterion: str = "stride 2",
    output: str = "dx",
    *,
    hidden: bool = False,
    failed: Failure | None = None,
    worth: float = 1,
) -> Cell:
    """A cell that earns all its points, or none."""
    return Cell(criterion, output, 0.0 if failed else worth, worth, hidden, failed)


def report(*parts: PartMark, feedback: str = "kind", **changes: object) -> Report:
    """A report of these parts."""
    values: dict[str, object] = {"isolation": "No network.", "seed": 31337, "feedback": feedback, **changes}
    return Report("jane.py", "Coursework", parts, 12.5, **values)  # type: ignore[arg-type]


def part(*cells: Cell, name: str = "conv2d_backward", task: str = "1.4", **changes: object) -> PartMark:
    """A part of these cells."""
    return PartMark(name, task, cells, 1.5, **changes)  # type: ignore[arg-type]


def mixed(feedback: str = "kind") -> Report:
    """Two parts: one with a public and a hidden failure, one that is right and fast."""
    secret = failure(
        message="SECRET in a message", settings={"N": "SECRET"}, seed=987654321, position=(8642, 9753),
        expected=0.987654321, got=-0.987654321, output="dx", error=0.111, mistake="other", hint="A hint.",
    )  # fmt: skip
    first = part(
        cell("plain", failed=failure()), cell("stride 2"), cell("plain", hidden=True),
        cell("stride 2", hidden=True, failed=secret), stdout="SECRET on stdout",
    )  # fmt: skip
    second = part(cell("plain", "y"), cell("plain", "y", hidden=True), name="relu_forward", task="3.1", speed=2.0)
    return report(first, second, feedback=feedback)


texts = st.one_of(st.text(max_size=30), st.just(HOSTILE))
floats = st.one_of(st.none(), st.floats())
failures = st.builds(
    Failure, kind=st.sampled_from(("values", "shape", "exception", "time", "new kind")), message=texts,
    settings=st.dictionaries(texts, st.integers(0, 9), max_size=2),
    seed=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    shapes=st.dictionaries(texts, st.tuples(st.integers(1, 5)), max_size=2), output=texts,
    position=st.one_of(st.none(), st.tuples(st.integers(0, 5))),
    expected=floats, got=floats, error=floats, allowed=floats,
    wrong=st.one_of(st.none(), st.floats(0, 1)), line=st.one_of(st.none(), st.integers(1, 500)),
    mistake=st.one_of(st.none(), texts), hint=texts, section=texts,
)  # fmt: skip
cells = st.builds(
    lambda criterion, output, worth, hidden, failed: cell(criterion, output, hidden=hidden, failed=failed, worth=worth),
    texts, texts, st.sampled_from((0.0, 0.5, 2.0)), st.booleans(), st.one_of(st.none(), failures),
)  # fmt: skip
parts = st.builds(
    PartMark, name=texts, task=texts, cells=st.lists(cells, max_size=4).map(tuple), seconds=st.floats(0, 100),
    standing=st.sampled_from(("reference", "own")), stdout=texts, speed=st.one_of(st.none(), st.floats(0.1, 10)),
)  # fmt: skip
reports = st.builds(
    Report, submission=texts, assignment=texts, parts=st.lists(parts, max_size=3).map(tuple), seconds=st.floats(0, 100),
    isolation=texts, findings=st.lists(texts, max_size=2).map(tuple), seed=st.integers(0, 99),
    feedback=st.sampled_from(("full", "kind", "none")),
)  # fmt: skip
