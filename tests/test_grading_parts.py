"""The parts of the coursework: their cases are clear, their answers right, and their bounds between right and wrong."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from npresnet import kernels
from npresnet.gradcheck import numeric_gradient
from npresnet.grading import solution, tolerance
from npresnet.grading.part import Case, Expected, Part, arrays_of
from npresnet.grading.parts import PARTS
from npresnet.grading.shrinking import smaller_cases

ROOT = Path(__file__).parents[1]
TASKS = (
    "im2col 1.1, col2im 1.2, conv2d_forward 1.3, conv2d_backward 1.4, batchnorm2d_forward 2.1, "
    "batchnorm2d_backward 2.2, relu_forward 3.1, relu_backward 3.2, max_pool2d_forward 3.3, max_pool2d_backward 3.4, "
    "global_avg_pool_forward 3.5, global_avg_pool_backward 3.6, linear_forward 4.1, linear_backward 4.2, "
    "softmax_cross_entropy 4.3, basic_block_forward 5.1, basic_block_backward 5.2, bottleneck_block_forward 5.3, "
    "bottleneck_block_backward 5.4, sgd_momentum_step 6.1, train_small_resnet 6.2, whole 7.1"
)
each_part = pytest.mark.parametrize("part", PARTS.values(), ids=list(PARTS))


@functools.cache
def cases(name: str) -> tuple[Case, ...]:
    """Public and hidden cases of a part."""
    return (*PARTS[name].cases(0, hidden=False), *PARTS[name].cases(7, hidden=True))


@functools.cache
def answers(name: str) -> tuple[dict[str, Expected], ...]:
    return tuple(PARTS[name].expected(case) for case in cases(name))


def run(case: Case, functions: dict[str, Any]) -> dict[str, Any]:
    """All values by name after a case's script."""
    named = copy.deepcopy(case.inputs)
    for step in case.script:
        args = [named[name] for name in step.args]
        result = functions[step.function](*args, **{key: named[name] for key, name in step.options})
        results = result if len(step.returns) > 1 else (result,)
        named.update(zip(step.returns, results, strict=True))
    return named


def errors(case: Case, expected: dict[str, Expected], named: dict[str, Any]) -> dict[str, float]:
    """For each output the largest error in units of what is allowed."""
    found = dict.fromkeys(case.outputs, 0.0)
    for name, (value, bound) in expected.items():
        output, _, key = name.partition("/")
        got = np.asarray(named[output][key] if key else named[output], np.float64)
        assert got.shape == np.shape(value), (name, got.shape)
        off = np.abs(got - value)
        allowed = np.maximum(np.broadcast_to(bound, off.shape) * tolerance.ROUNDOFF, 1e-300)
        ratio = np.where(off == 0, 0, off / allowed)
        found[output] = max(found[output], float(np.where(np.isfinite(ratio), ratio, np.inf).max()))
    return found


def in_float32(part: Part, case: Case) -> Case:
    return part.case(case.criterion, case.settings, case.seed, "float32")


# ---------------------------------------------------------------------------------------------- the table
def test_all_tasks_in_order_for_100_points() -> None:
    assert ", ".join(f"{name} {part.task}" for name, part in PARTS.items()) == TASKS
    assert sum(part.points for part in PARTS.values()) == 100
    assert all(name == part.name for name, part in PARTS.items())


@each_part
def test_shares_sum_to_one(part: Part) -> None:
    assert sum(criterion.share for criterion in part.criteria) == pytest.approx(1)
    assert sum(part.outputs.values()) == pytest.approx(1)
    assert len({criterion.name for criterion in part.criteria}) == len(part.criteria)
    assert "float32" in {criterion.dtype for criterion in part.criteria} or part.name == "whole"


@each_part
def test_cases_are_small_plain_and_start_with_the_smallest(part: Part) -> None:
    for case in cases(part.name):
        assert part.sensible(case.settings), case.settings
        assert all(type(value) in (int, bool, str) for value in case.settings.values())
        assert all(array.size <= 1600 for _, array in arrays_of(case.inputs))  # columns are nine times the image
        assert {array.dtype.name for _, array in arrays_of(case.inputs)} <= {case.dtype, "int64"}
        assert all(hasattr(solution, step.function) for step in case.script)
        assert set(part.outputs) <= {name for step in case.script for name in step.returns}
        assert not {name for step in case.script for name in step.returns} & set(case.inputs)
    for criterion in part.criteria:
        first, *later = (case.size for case in part.cases(0, hidden=False) if case.criterion == criterion.name)
        assert all(first <= size for size in later), criterion.name


@each_part
def test_the_same_seed_gives_the_same_case(part: Part) -> None:
    for first, second in zip(cases(part.name), part.cases(0, hidden=False), strict=False):
        assert (first.settings, first.seed, first.dtype) == (second.settings, second.seed, second.dtype)
        for (name, a), (_, b) in zip(arrays_of(first.inputs), arrays_of(second.inputs), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
            assert a.strides == b.strides


@each_part
def test_hidden_cases_are_others_of_the_same_criteria(part: Part) -> None:
    public, hidden = list(part.cases(0, hidden=False)), list(part.cases(0, hidden=True))
    assert [case.criterion for case in public] == [case.criterion for case in hidden]
    assert not {case.seed for case in public} & {case.seed for case in hidden}


@each_part
def test_upstream_gradients_and_parameters_are_not_special(part: Part) -> None:
    for case in cases(part.name):
        for name, array in arrays_of(case.inputs):
            if array.dtype.kind == "f" and name not in ("old_velocity", "x"):  # a velocity of zero, a pixel of zero
                assert np.abs(array).min() > 0, name
                assert array.size < 4 or name == "logits" or np.ptp(np.abs(array)) > 0.05 * np.abs(array).max(), name


def test_memory_order_survives_the_dtype() -> None:
    orders = {case.inputs["x"].flags.c_contiguous for case in cases("conv2d_backward")}
    assert orders == {True, False}


@each_part
def test_sections_exist(part: Part) -> None:
    file, _, anchor = part.section.partition("#")
    if file.endswith(".py"):
        assert (ROOT / file).is_file()
        return
    cells = json.loads((ROOT / "tutorials" / file).read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).split("\n")]
    headings = [line.lstrip("#").strip().replace("`", "").replace(" ", "-") for line in lines if line.startswith("#")]
    assert anchor in headings, headings


# ---------------------------------------------------------------------------------------------- right answers
@each_part
def test_the_solution_is_within_bounds_in_either_dtype(part: Part) -> None:
    for case, expected in zip(cases(part.name), answers(part.name), strict=True):
        assert max(errors(case, expected, run(case, vars(solution))).values()) <= 1
        single = in_float32(part, case)  # also held against the answer for unrounded inputs
        assert max(errors(case, expected, run(single, vars(solution))).values()) <= 1, case.settings


def moments(x: np.ndarray, *args: Any, momentum: float = 0.1, eps: float = 1e-5) -> tuple[Any, ...]:
    """Batch normalisation with ``E[x^2] - mean^2``, summed one value after the other, as a scale and a shift."""
    weight, bias, running_mean, running_var, training = args
    columns = x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])
    m = len(columns)
    mean, var = running_mean, running_var
    if training:
        mean = np.cumsum(columns, axis=0)[-1] / x.dtype.type(m)
        var = np.cumsum(columns * columns, axis=0)[-1] / x.dtype.type(m) - mean * mean
        running_mean = running_mean + momentum * (mean - running_mean)
        running_var = running_var + momentum * (var * (m / (m - 1)) - running_var)
    scale = weight / np.sqrt(var + eps)
    y = x * scale[:, None, None] + (bias - mean * scale)[:, None, None]
    return y, (x, mean, var, weight, training, eps), running_mean, running_var


def step_by_step(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, ...]:
    """The gradient by the chain rule through variance and mean, as in the paper."""
    x, mean, var, weight, training, eps = cache
    axes, m = (0, 2, 3), x.size // x.shape[1]
    inv = 1 / np.sqrt(var + eps)
    centred = x - mean[:, None, None]
    dweight = (dy * centred).sum(axis=axes) * inv
    dx_hat = dy * weight[:, None, None]
    dx = dx_hat * inv[:, None, None]
    if training:
        dvar = (dx_hat * centred).sum(axis=axes) * -0.5 * inv**3
        dmean = -dx.sum(axis=axes) + dvar * (-2 * centred).mean(axis=axes)
        dx = dx + (dvar[:, None, None] * 2 * centred + dmean[:, None, None]) / m
    return dx, dweight, dy.sum(axis=axes)


def one_after_the_other(x: np.ndarray, weight: np.ndarray, bias: Any = None, *args: int, **named: int) -> Any:
    """A convolution that adds up its products in sequence."""
    y, cache = solution.conv2d_forward(x, weight, bias, *args, **named)
    _, cols, _, _, _, _, _, groups = cache
    W = weight.reshape(groups, len(weight) // groups, -1)
    terms = W[None, :, :, :, None] * cols[:, :, None]  # (N, g, O/g, K, oh * ow)
    y = np.cumsum(terms[:, :, :, ::-1], axis=3)[:, :, :, -1].reshape(y.shape)
    return y if bias is None else y + bias[:, None, None], cache


OTHER_WAYS: dict[str, Any] = {
    "batchnorm2d_forward": moments,
    "batchnorm2d_backward": step_by_step,
    "conv2d_forward": one_after_the_other,
}


@pytest.mark.parametrize(
    "name", [name for name in PARTS if name.startswith(("conv", "batch", "basic", "bottleneck", "train", "whole"))]
)
def test_other_ways_to_compute_are_within_bounds_in_float32(name: str) -> None:
    module = solution_with(OTHER_WAYS)
    for case, expected in zip(cases(name), answers(name), strict=True):
        single = in_float32(PARTS[name], case)
        assert max(errors(case, expected, run(single, module)).values()) <= 1, case.settings


def test_im2col_and_col2im_are_each_others_transpose() -> None:
    for case, expected in zip(cases("im2col"), answers("im2col"), strict=True):
        part = PARTS["col2im"]
        inputs = part.draw(case.settings, np.random.default_rng(1))
        back = part.answer(inputs, case.settings)["x"].value
        assert (expected["cols"].value * inputs["cols"]).sum() == pytest.approx((case.inputs["x"] * back).sum())


@pytest.fixture
def no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the values: bounds take most of the time."""

    def values(compute: Any) -> dict[str, Expected]:
        return {name: Expected(value, 0.0) for name, value in compute(tolerance.exact).items()}

    monkeypatch.setattr(tolerance, "measured", values)


SOURCES = {"dx": "x", "dweight": "weight", "dbias": "bias"}


@pytest.mark.usefixtures("no_bounds")
@pytest.mark.parametrize("name", [name for name in PARTS if name.endswith("backward")])
def test_gradients_are_central_differences(name: str) -> None:
    """The answers of a backward part are the derivatives of those of its forward part."""
    forward = PARTS[name.replace("backward", "forward")]
    seen = set()
    for case, expected in zip(cases(name), answers(name), strict=True):
        if case.criterion in seen or case.dtype == "float32":
            continue
        seen.add(case.criterion)
        for output, (gradient, _) in expected.items():
            x, changed = argument(case.inputs, output)

            def y(value: np.ndarray, changed: Any = changed, case: Case = case) -> np.ndarray:
                return forward.answer(changed(value), case.settings)["y"].value

            step = 1e-5 * float(np.abs(x).max())  # of values like pixels, or as small as 0.003
            numeric = numeric_gradient(y, x, case.inputs["dy"], h=step)
            scale = np.abs(gradient).max() + 1e-3
            np.testing.assert_allclose(
                numeric, gradient, rtol=0, atol=2e-6 * scale, err_msg=f"{output} {case.settings}"
            )


def argument(inputs: dict[str, Any], output: str) -> tuple[np.ndarray, Callable[[np.ndarray], dict[str, Any]]]:
    """What an output is the gradient of, and inputs with another value in its place."""
    if output.startswith("grads/"):
        key = output.removeprefix("grads/")
        return inputs["params"][key], lambda value: {**inputs, "params": {**inputs["params"], key: value}}
    name = SOURCES[output]
    return inputs[name], lambda value: {**inputs, name: value}


def test_the_gradient_of_the_loss_is_its_central_difference() -> None:
    part = PARTS["softmax_cross_entropy"]
    for case, expected in zip(cases(part.name), answers(part.name), strict=True):

        def loss(logits: np.ndarray, case: Case = case) -> np.ndarray:
            return part.answer({**case.inputs, "logits": logits}, case.settings)["loss"].value

        numeric = numeric_gradient(loss, case.inputs["logits"], 1.0)
        np.testing.assert_allclose(numeric, expected["dlogits"].value, rtol=0, atol=1e-7)


@pytest.mark.usefixtures("no_bounds")
def test_one_step_of_training_goes_down_the_measured_slope() -> None:
    part = PARTS["train_small_resnet"]
    case, expected = cases(part.name)[0], answers(part.name)[0]
    start = case.inputs["initial_params"]
    for name in ("stem.bn.bias", "block1.bn2.weight", "block2.shortcut.conv.weight", "head.bias"):

        def loss(value: np.ndarray, name: str = name) -> np.ndarray:
            return part.answer({**case.inputs, "initial_params": {**start, name: value}}, case.settings)["losses"].value

        slope = (start[name] - expected[f"params/{name}"].value) / case.inputs["lr"]
        np.testing.assert_allclose(numeric_gradient(loss, start[name], 1.0), slope, rtol=1e-5, atol=1e-6)


def test_answers_leave_the_switch_alone_and_compile_nothing() -> None:
    program = (
        "import sys\n"
        "from npresnet import kernels\n"
        "from npresnet.grading.parts import PARTS\n"
        "for name in ('conv2d_backward', 'basic_block_forward'):\n"
        "    PARTS[name].expected(next(PARTS[name].cases(0, False)))\n"
        "print(kernels._active, 'numba' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.split() == ["numba", "False"]
    assert kernels._active == "numba"


# ---------------------------------------------------------------------------------------------- clear cases
@pytest.mark.parametrize("name", [name for name in PARTS if "block" in name or name in ("train_small_resnet", "whole")])
def test_no_relu_is_near_its_kink(name: str) -> None:
    seen: list[np.ndarray] = []

    def relu_forward(x: np.ndarray) -> tuple[np.ndarray, Any]:
        seen.append(x)
        return solution.relu_forward(x)

    module = solution_with({"relu_forward": relu_forward})
    for case in cases(name):
        if case.criterion != "learned by heart":  # its bounds leave room for what happens at a kink
            run(case, module)
    assert min(np.abs(x).min() for x in seen) > 9e-4
    assert all((x > 0).any() and (x < 0).any() for x in seen)


@pytest.mark.parametrize("name", ["train_small_resnet", "whole"])
@pytest.mark.parametrize("seed", range(5))
def test_a_batch_is_learned_by_heart_in_single_precision_too(name: str, seed: int) -> None:
    (case,) = (case for case in PARTS[name].cases(seed, hidden=True) if case.criterion == "learned by heart")
    expected = PARTS[name].expected(case)
    losses = expected["losses"].value
    assert losses[-1] < 0.25 * losses[0]
    single = PARTS[name].case(case.criterion, case.settings, case.seed, "float32")
    for tried in (case, single):
        worst = errors(tried, expected, run(tried, vars(solution)))
        assert max(worst.values()) <= 0.5, worst  # half of what is allowed


@pytest.mark.parametrize("name", ["train_small_resnet", "whole"])
def test_who_stops_learning_has_not_learned_by_heart(name: str) -> None:
    (case,) = (case for case in PARTS[name].cases(1, hidden=True) if case.criterion == "learned by heart")
    expected = PARTS[name].expected(case)
    lazy = {**case.inputs, "steps": case.inputs["steps"] // 4}
    losses, params = solution.train_small_resnet(
        *(lazy[key] for key in ("images", "labels", "initial_params", "steps", "lr"))
    )
    value, bound = expected["losses"]
    assert np.abs(losses[-1] - value[-1]) > tolerance.ROUNDOFF * np.max(bound)
    off = {
        k: np.abs(params[k.removeprefix("params/")] - v) > tolerance.ROUNDOFF * np.asarray(b)
        for k, (v, b) in expected.items()
        if "/" in k
    }
    assert sum(flag.any() for flag in off.values()) > len(off) / 2


def test_no_pool_has_a_tie() -> None:
    for case in (*cases("max_pool2d_forward"), *cases("max_pool2d_backward")):
        values = np.sort(case.inputs["x"].ravel())
        assert np.diff(values).min() > 0.09
        if case.settings["negative"]:
            assert values.max() < 0


@each_part
def test_shrinking_ends_at_valid_cases(part: Part) -> None:
    for case in (cases(part.name)[0], cases(part.name)[len(cases(part.name)) // 2 - 1]):
        for small in smaller_cases(part, case)[:: 10 if part.task > "5" else 4]:
            assert part.sensible(small.settings)
            assert max(errors(small, part.expected(small), run(small, vars(solution))).values()) <= 1, small.settings


@each_part
def test_the_least_case_of_all_is_valid(part: Part) -> None:
    settings = {**cases(part.name)[0].settings, **part.smallest}
    if not part.sensible(settings):  # batch normalisation: four values
        settings |= {"H": 2, "W": 2}
    settings = {name: value for name, value in settings.items() if name in cases(part.name)[0].settings}
    for seed in range(3):
        case = part.case(part.criteria[0], settings, seed)
        assert max(errors(case, part.expected(case), run(case, vars(solution))).values()) <= 1


# ---------------------------------------------------------------------------------------------- wrong answers
def solution_with(functions: dict[str, Any]) -> dict[str, Any]:
    """The solution's functions with some of them replaced, also where the others call them."""
    module = types.ModuleType("submission")
    exec(compile(inspect.getsource(solution), "submission", "exec"), vars(module))
    vars(module).update(functions)
    return vars(module)


def broken(function: str, changes: dict[str, str]) -> dict[str, Any]:
    """The solution with pieces of the source of one function replaced."""
    module = solution_with({})
    source = inspect.getsource(getattr(solution, function))
    for old, new in changes.items():
        assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in {function}"
        source = source.replace(old, new)
    exec(compile(source, "submission", "exec"), module)
    return module


class Wrong(NamedTuple):
    """A mistake: pieces of the solution's text that are replaced, and the criterion that must notice."""

    part: str
    function: str  # that is changed
    output: str
    shown: str  # the criterion that a teacher expects to fail
    spared: str | None  # one that passes all the same; "*" for all others
    changes: dict[str, str]


MISTAKES = [
    Wrong(
        "im2col",
        "im2col",
        "cols",
        "channels and images",
        "one channel",
        {"cols.reshape(": "cols.transpose(0, 2, 3, 1, 4, 5).reshape("},
    ),
    Wrong(
        "im2col",
        "im2col",
        "cols",
        "dilation",
        "stride",
        {"left = i * dilation, j * dilation": "left = i, j"},
    ),
    Wrong(
        "col2im",
        "col2im",
        "x",
        "one channel",
        None,
        {"stride] += cols": "stride] = cols"},
    ),
    Wrong(
        "conv2d_forward",
        "conv2d_forward",
        "y",
        "one channel",
        None,
        {"weight.reshape(groups": "weight[:, :, ::-1, ::-1].reshape(groups"},
    ),
    Wrong(
        "conv2d_forward",
        "conv2d_forward",
        "y",
        "groups",
        "channels and images",
        {"cols.reshape(N, groups, -1, oh * ow)": "cols.reshape(N, -1, groups, oh * ow).swapaxes(1, 2)"},
    ),
    Wrong(
        "conv2d_backward",
        "conv2d_backward",
        "dweight",
        "channels and images",
        "one channel",
        {".sum(axis=0).reshape(weight": ".mean(axis=0).reshape(weight"},
    ),
    Wrong(
        "conv2d_backward",
        "conv2d_backward",
        "dbias",
        "one channel",
        "without a bias",
        {"dy.sum(axis=(0, 2, 3)) if": "dy.mean(axis=(0, 2, 3)) if"},
    ),
    Wrong(
        "batchnorm2d_forward",
        "batchnorm2d_forward",
        "running_var",
        "training, one channel",
        "evaluation",
        {"var * m / (m - 1)": "var"},
    ),
    Wrong(
        "batchnorm2d_forward",
        "batchnorm2d_forward",
        "y",
        "eps",
        "*",
        {"np.sqrt(var + eps)": "(np.sqrt(var) + eps)"},
    ),
    Wrong(
        "batchnorm2d_forward",
        "batchnorm2d_forward",
        "running_mean",
        "training, one channel",
        "evaluation",
        {"(1 - momentum) * running_mean + momentum * mean": "momentum * running_mean + (1 - momentum) * mean"},
    ),
    Wrong(
        "batchnorm2d_forward",
        "batchnorm2d_forward",
        "y",
        "training, several channels",
        "training, one channel",
        {"x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))": "[np.full(x.shape[1], f(x)) for f in (np.mean, np.var)]"},
    ),
    Wrong(
        "batchnorm2d_backward",
        "batchnorm2d_backward",
        "dx",
        "training, one channel",
        "evaluation",
        {" - dbias[:, None, None] / m": ""},
    ),
    Wrong(
        "batchnorm2d_backward",
        "batchnorm2d_backward",
        "dx",
        "training, one channel",
        "evaluation",
        {" - x_hat * dweight[:, None, None] / m": ""},
    ),
    Wrong(
        "relu_backward",
        "relu_backward",
        "dx",
        "a row of numbers",
        None,
        {"dy * cache": "dy * (dy > 0)"},
    ),
    Wrong(
        "max_pool2d_forward",
        "max_pool2d_forward",
        "y",
        "padding",
        "overlapping windows",
        {"constant_values=-np.inf": "constant_values=0"},
    ),
    Wrong(
        "max_pool2d_backward",
        "col2im",
        "dx",
        "overlapping windows",
        "windows side by side",
        {"stride] += cols": "stride] = cols"},
    ),
    Wrong(
        "global_avg_pool_backward",
        "global_avg_pool_backward",
        "dx",
        "oblong images",
        "channels and images",
        {"shape[2] * shape[3]": "shape[2] * shape[2]"},
    ),
    Wrong(
        "linear_backward",
        "linear_backward",
        "dweight",
        "as many features as classes",
        None,
        {"dy.T @ x": "(x.T @ dy).reshape(weight.shape)"},
    ),
    Wrong(
        "softmax_cross_entropy",
        "softmax_cross_entropy",
        "dlogits",
        "large logits",
        "a batch",
        {"logits - logits.max(axis=1, keepdims=True)": "logits"},
    ),
    Wrong(
        "softmax_cross_entropy",
        "softmax_cross_entropy",
        "dlogits",
        "a batch",
        "one image",
        {"dlogits / N": "dlogits"},
    ),
    Wrong(
        "basic_block_forward",
        "basic_block_forward",
        "y",
        "identity, evaluation",
        None,
        {"relu_forward(e + residual)": "relu_forward(e)\n    y = y + residual"},
    ),
    Wrong(
        "basic_block_backward",
        "basic_block_backward",
        "dx",
        "identity, training",
        None,
        {"dx + _shortcut_backward(dsum, shortcut, grads)": "dx + 0 * _shortcut_backward(dsum, shortcut, grads)"},
    ),
    Wrong(
        "basic_block_backward",
        "basic_block_backward",
        "grads",
        "projection, training",
        "identity, training",
        {"_shortcut_backward(dsum,": "_shortcut_backward(dy,"},
    ),
    Wrong(
        "bottleneck_block_forward",
        "bottleneck_block_forward",
        "y",
        "projection, training",
        "identity, training",
        {'params["conv1.weight"])': 'params["conv1.weight"], stride=stride)', "stride=stride, padding=1": "padding=1"},
    ),
    Wrong(
        "bottleneck_block_backward",
        "bottleneck_block_backward",
        "grads",
        "identity, evaluation",
        None,
        {"relu_backward(df, relu2)": "df"},
    ),
    Wrong(
        "sgd_momentum_step",
        "sgd_momentum_step",
        "velocity",
        "from rest",
        None,
        {"velocity + grad": "velocity + (1 - momentum) * grad"},
    ),
    Wrong(
        "sgd_momentum_step",
        "sgd_momentum_step",
        "param",
        "weight decay",
        "with a velocity",
        {"velocity + grad + weight": "velocity + grad - weight"},
    ),
    Wrong(
        "train_small_resnet",
        "train_small_resnet",
        "params",
        "another momentum",
        "three steps",
        {", lr, momentum)": ", lr)"},
    ),
    Wrong(
        "whole",
        "conv2d_backward",
        "params",
        "one step",
        None,
        {".sum(axis=0).reshape(weight": ".mean(axis=0).reshape(weight"},
    ),
]


@pytest.mark.parametrize("wrong", MISTAKES, ids=lambda wrong: f"{wrong.part}-{wrong.shown}")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow, as it should be
def test_mistakes_are_far_outside_where_a_teacher_expects_it(wrong: Wrong) -> None:
    module = broken(wrong.function, wrong.changes)
    largest: dict[str, float] = {}
    for case, expected in zip(cases(wrong.part), answers(wrong.part), strict=True):
        if case.criterion == wrong.shown or wrong.spared in (case.criterion, "*"):
            try:
                error = errors(case, expected, run(case, module))[wrong.output]
            except (ValueError, AssertionError):  # of another shape
                error = np.inf
            largest[case.criterion] = max(largest.get(case.criterion, 0), error)
    assert largest.pop(wrong.shown) > 100
    assert wrong.spared is None or largest
    assert all(error <= 1 for error in largest.values()), largest
