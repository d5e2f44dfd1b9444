"""The bank of known mistakes and the diagnosis: every mistake is refused where it should be, and called by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import npresnet
from npresnet.grading import solution
from npresnet.grading.bank import MISTAKES, Mistake
from npresnet.grading.bank.running import outputs_of
from npresnet.grading.comparing import ROUNDOFF, members
from npresnet.grading.diagnosis import diagnose, diagnose_criteria
from npresnet.grading.evidence import Finding, Pair
from npresnet.grading.lookalikes import HINTS, lookalike
from npresnet.grading.part import Case, Expected, Part
from npresnet.grading.parts import PARTS

Functions = Mapping[str, Callable[..., Any]]
FUNCTIONS = [name for name in PARTS if name != "whole"]


@dataclass
class Result:
    """What the judge says of a case."""

    outputs: dict[str, Any]
    wrong_types: dict[str, str] = field(default_factory=dict)
    raised: Any = None


@cache
def questions(name: str) -> tuple[tuple[Case, ...], tuple[Mapping[str, Expected], ...]]:
    """The cases of a part, public and hidden ones of some seed, with their answers; trainings are slow: public ones."""
    part = PARTS[name]
    hidden = () if "train_small_resnet" in part.functions else part.cases(20, hidden=True)
    cases = (*part.cases(0, hidden=False), *hidden)
    with npresnet.use_backend("numpy"):
        return cases, tuple(part.expected(case) for case in cases)


def results_of(name: str, functions: Functions) -> list[Result]:
    """What a submission with some wrong functions returns."""
    outputs = [outputs_of(case, functions) for case in questions(name)[0]]
    return [Result(values) if values is not None else Result({}, raised="ValueError") for values in outputs]


def changed(name: str, output: str, change: Callable[[Any, Case], Any]) -> list[Result]:
    """What a submission returns that is right but for one output."""
    results = results_of(name, {})
    for case, result in zip(questions(name)[0], results, strict=True):
        if output in result.outputs:
            result.outputs[output] = change(result.outputs[output], case)
    return results


def names_found(name: str, results: list[Result], **options: Any) -> dict[str, str]:
    """The names of the mistakes by output."""
    cases, answers = questions(name)
    return {
        output: mistake.name for output, mistake in diagnose(PARTS[name], cases, results, answers, **options).items()
    }


def wrong_outputs(name: str, results: list[Result]) -> set[str]:
    """The outputs that are clearly wrong in some case: by more than a hundred times what rounding explains."""
    wrong = set()
    for answer, result in zip(questions(name)[1], results, strict=True):
        for output in PARTS[name].outputs:
            names = members(answer, output)
            if result.raised or (not names and output not in result.outputs):
                continue
            if not names or any(_clearly_wrong(answer[member], result.outputs.get(member)) for member in names):
                wrong.add(output)
    return wrong


def _clearly_wrong(expected: Expected, got: Any) -> bool:
    value = np.asarray(expected.value)
    if got is None or got.shape != value.shape or not np.isfinite(got).all():
        return True
    return bool((np.abs(got - value) > 100 * ROUNDOFF * np.asarray(expected.bound)).any())


# ------------------------------------------------------------------------------------------------ the bank
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_every_mistake_is_refused_and_called_by_its_name(mistake: Mistake) -> None:
    results = results_of(mistake.part, mistake.functions)
    assert wrong_outputs(mistake.part, results) == set(mistake.outputs)
    assert names_found(mistake.part, results) == dict.fromkeys(mistake.outputs, mistake.name)


def test_enough_mistakes_of_every_function() -> None:
    counts = {name: sum(mistake.part == name for mistake in MISTAKES.values()) for name in FUNCTIONS}
    assert min(counts.values()) >= 3, counts
    assert sum(counts.values()) == len(MISTAKES) >= 250


@pytest.mark.parametrize("part", FUNCTIONS)
def test_what_is_said_of_mistakes(part: str) -> None:
    for mistake in (mistake for mistake in MISTAKES.values() if mistake.part == part):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", mistake.name)
        assert mistake.functions
        assert set(mistake.functions) <= set(vars(solution))
        _check_hint(mistake.hint)


def test_what_is_said_of_looks() -> None:
    for hint in HINTS.values():
        _check_hint(hint)


def _check_hint(hint: str) -> None:
    """A hint is made of sentences and holds no code, least of all a line of the solution."""
    assert 20 < len(hint) < 240
    assert hint[0].isupper()
    assert hint.endswith((".", "?"))
    assert not re.search(r"[=@`\[\]]|(?<!running)_|np\.|axis\b.\d|\*|\+|  | / ", hint)
    assert not any(line in hint for line in _lines_of_code())


@cache
def _lines_of_code() -> frozenset[str]:
    lines = {line.strip() for line in Path(solution.__file__).read_text().splitlines()}
    return frozenset(line for line in lines if len(line) > 6 and not line.endswith((".", ",")))


# ------------------------------------------------------------------------------------------------ the diagnosis
@pytest.mark.parametrize("name", PARTS)
def test_a_right_solution_has_no_mistake(name: str) -> None:
    assert names_found(name, results_of(name, {})) == {}


@pytest.mark.parametrize("name", PARTS)
def test_noise_has_no_name(name: str) -> None:
    rng = np.random.default_rng(7)
    results = results_of(name, {})
    for result in results:
        result.outputs = {key: value + rng.normal(size=value.shape) for key, value in result.outputs.items()}
    assert names_found(name, results) == {}


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if not name.startswith("train")])
def test_mistakes_made_in_float32_have_the_same_names(name: str) -> None:
    part = PARTS[name]
    single = [part.case(case.criterion, case.settings, case.seed, "float32") for case in questions(name)[0]]
    with npresnet.use_backend("numpy"):
        answers = [part.expected(case) for case in single]
    own = [mistake for mistake in MISTAKES.values() if mistake.part == name]
    right = 0
    for mistake in own:
        outputs = [outputs_of(case, mistake.functions) for case in single]
        results = [Result(values) if values is not None else Result({}, raised="ValueError") for values in outputs]
        found = {key: value.name for key, value in diagnose(part, single, results, answers).items()}
        right += found == dict.fromkeys(mistake.outputs, mistake.name)
    assert right >= 0.9 * len(own)


def test_mistakes_of_two_outputs_are_told_apart() -> None:
    dx, dbias = (
        MISTAKES[name].functions["conv2d_backward"]
        for name in ("conv-backward-dx-kernel-flipped", "conv-backward-dbias-averaged")
    )

    def both(dy: Any, kept: Any) -> Any:
        return dx(dy, kept)[0], dx(dy, kept)[1], dbias(dy, kept)[2]

    forward = MISTAKES["conv-backward-dbias-averaged"].functions["conv2d_forward"]
    results = results_of("conv2d_backward", {"conv2d_forward": forward, "conv2d_backward": both})
    assert names_found("conv2d_backward", results) == {
        "dx": "conv-backward-dx-kernel-flipped",
        "dbias": "conv-backward-dbias-averaged",
    }


def test_two_mistakes_of_one_output_show_under_their_criteria() -> None:
    def forward(x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0, **others: Any) -> Any:
        return solution.conv2d_forward(x, weight, bias, 1, 0, **others)

    cases, answers = questions("conv2d_forward")
    results = results_of("conv2d_forward", {"conv2d_forward": forward})
    found = diagnose_criteria(PARTS["conv2d_forward"], cases, results, answers)
    assert found["stride", "y"].name == "conv-stride-ignored"
    assert found["padding", "y"].name == "conv-padding-forgotten"
    assert not found["stride", "y"].sure
    assert ("one channel", "y") not in found


def test_cases_that_raise_an_error_are_left_out() -> None:
    results = results_of("conv2d_forward", MISTAKES["conv-kernel-flipped"].functions)
    for case, result in zip(questions("conv2d_forward")[0], results, strict=True):
        if case.criterion == "groups":
            result.outputs, result.raised = {}, "IndexError"
    assert names_found("conv2d_forward", results) == {"y": "conv-kernel-flipped"}
    assert names_found("conv2d_forward", [replace(result, raised="IndexError") for result in results]) == {}


def test_a_mistake_of_an_earlier_function_shows_in_a_block() -> None:
    wrong = MISTAKES["bn-backward-mean-term-missing"].functions
    results = results_of("basic_block_backward", wrong)
    assert set(names_found("basic_block_backward", results, own=True).values()) == {"bn-backward-mean-term-missing"}
    assert "bn-backward-mean-term-missing" not in names_found("basic_block_backward", results).values()


@pytest.mark.parametrize("name", ["bn-backward-mean-term-missing", "conv-backward-dx-kernel-flipped", "sgd-nesterov"])
def test_a_mistake_of_an_earlier_function_shows_in_the_whole(name: str) -> None:
    assert names_found("whole", results_of("whole", MISTAKES[name].functions))["params"] == name


def test_cases_keep_their_inputs() -> None:
    part: Part = PARTS["sgd_momentum_step"]
    case = questions(part.name)[0][0]
    before = case.inputs["old_param"].copy()

    def in_place(param: Any, grad: Any, velocity: Any, *others: Any, **options: Any) -> Any:
        param += 1
        return param, velocity

    assert outputs_of(case, {"sgd_momentum_step": in_place}) is not None
    assert np.array_equal(case.inputs["old_param"], before)


# ------------------------------------------------------------------------------------------------ looks
@pytest.mark.parametrize(
    ("look", "part", "output", "change"),
    [
        ("result-whole-numbers", "linear_forward", "y", lambda y, case: y.astype(np.int64)),
        ("result-zeros", "linear_forward", "y", lambda y, case: 0 * y),
        ("result-negated", "conv2d_backward", "dweight", lambda dw, case: -dw),
        ("result-doubled", "conv2d_backward", "dx", lambda dx, case: 2 * dx),
        ("result-halved", "conv2d_backward", "dx", lambda dx, case: dx / 2),
        ("result-times-batch", "conv2d_backward", "dx", lambda dx, case: len(dx) * dx),
        ("result-divided-by-batch", "conv2d_backward", "dx", lambda dx, case: dx / len(dx)),
        ("result-transposed", "conv2d_backward", "dx", lambda dx, case: dx.transpose(2, 3, 0, 1)),
        ("result-in-another-shape", "conv2d_forward", "y", lambda y, case: y.reshape(-1)),
        ("result-in-another-order", "linear_forward", "y", lambda y, case: y[::-1, ::-1]),
        ("result-scaled", "conv2d_backward", "dweight", lambda dw, case: 0.3 * dw),
        ("result-scaled-by-size", "conv2d_backward", "dweight", lambda dw, case: dw / (7 + dw.size)),
    ],
)
def test_looks_of_results(look: str, part: str, output: str, change: Callable[[Any, Case], Any]) -> None:
    assert names_found(part, changed(part, output, change)) == {output: look}


def _first_image(right: Any) -> Any:
    return np.concatenate([right[:1], 3 - right[1:]])


def _border(right: Any) -> Any:
    got = right + 1
    got[:, :, 1:-1, 1:-1] = right[:, :, 1:-1, 1:-1]
    return got


@pytest.mark.parametrize(
    ("look", "change"),
    [
        ("result-shifted", lambda right: np.roll(right, (1, -1), axis=(2, 3)) + 0),
        ("result-wrong-at-border", _border),
        ("result-right-for-first-image", _first_image),
        ("result-not-summed", lambda right: np.stack([0.25 * right, 0.75 * right])),
        (None, lambda right: right**2),
    ],
)
def test_looks_of_images(look: str | None, change: Callable[[Any], Any]) -> None:
    right = np.random.default_rng(3).normal(size=(2, 3, 5, 6))
    got = change(right)
    if look == "result-shifted":  # what came in at the other side is something else, in general
        got[:, :, 0], got[:, :, :, -1] = 0.0, 0.0
    case = Case("", "", {"N": 2}, 0, "float64", {}, (), ("dx",))
    finding = Finding(case, "dx", {"dx": Pair(got, right, 1e-6)}, {}, (), "")
    found = lookalike("", "dx", [finding, finding])
    assert (found and found.name) == look


def test_results_that_are_no_arrays() -> None:
    results = results_of("linear_backward", {})
    for result in results:
        del result.outputs["dbias"]
        result.wrong_types["dbias"] = "nothing: the function returned 2 values, not 3"
    assert names_found("linear_backward", results) == {"dbias": "result-too-few-values"}


def test_values_returned_in_another_order() -> None:
    results = results_of("linear_backward", {})
    for result in results:
        outputs = result.outputs
        outputs["dx"], outputs["dweight"] = outputs["dweight"], outputs["dx"]
    assert names_found("linear_backward", results) == dict.fromkeys(("dx", "dweight"), "result-in-wrong-order")
