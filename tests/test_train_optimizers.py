"""Optimisers against their published formulas, one number at a time in float64; their state; and compiled plans."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import network, pixels

import npresnet
from npresnet.kernels import parallel
from npresnet.nn import Parameter
from npresnet.train import LAMB, OPTIMIZERS, SGD, AdamW, Optimizer, ParameterGroup, parameter_groups, pieces

SHAPES = {"conv": (6, 4, 3, 3), "matrix": (5, 7), "bias": (5,), "scalar": ()}
RATE, DECAY, SCALE = 0.05, 0.02, 0.5


def close(found: np.ndarray, expected: np.ndarray, name: str = "") -> None:
    """To rounding errors: seen 1e-15 in float64 and 2e-7 in float32."""
    tolerance = 1e-13 if found.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def parameters(dtype: str = "float64", shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, Parameter]:
    rng = np.random.default_rng(0)
    return {name: Parameter(np.asarray(rng.standard_normal(shape), dtype)) for name, shape in shapes.items()}


def gradients(steps: int, shapes: dict[str, tuple[int, ...]] = SHAPES) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    for _ in range(steps):
        yield {name: np.asarray(rng.standard_normal(shape)) for name, shape in shapes.items()}


def in_groups(own: dict[str, Parameter]) -> list[ParameterGroup]:
    """Matrices decay and learn slowly; the others have neither decay nor another rate."""
    weights = [name for name, parameter in own.items() if len(parameter.shape) > 1]
    others = [name for name in own if name not in weights]
    return [
        ParameterGroup(tuple(weights), tuple(own[name] for name in weights), SCALE, DECAY),
        ParameterGroup(tuple(others), tuple(own[name] for name in others)),
    ]


def run(optimizer: Optimizer, own: dict[str, Parameter], steps: int, skip: int = 0, **arguments: Any) -> None:
    for step, grads in enumerate(gradients(skip + steps, **arguments)):
        if step >= skip:
            for name, parameter in own.items():
                parameter.grad = grads[name].astype(parameter.dtype)
            optimizer.step(RATE / (1 + step))


def one_number(formula: Callable[..., Any], value: float, history: list[float], scale: float, decay: float) -> float:
    """Follow a single number through all steps of a formula."""
    state: Any = None
    for step, gradient in enumerate(history):
        value, state = formula(value, gradient, state, step + 1, scale * RATE / (1 + step), decay)
    return value


def sgd(w: float, g: float, m: float | None, t: int, lr: float, decay: float) -> tuple[float, float]:
    m = 0.9 * (m or 0.0) + g + decay * w
    return w - lr * m, m


def plain_sgd(w: float, g: float, m: Any, t: int, lr: float, decay: float) -> tuple[float, Any]:
    return w - lr * (g + decay * w), m


def nesterov(w: float, g: float, m: float | None, t: int, lr: float, decay: float) -> tuple[float, float]:
    m = 0.9 * (m or 0.0) + g + decay * w
    return w - lr * (g + decay * w + 0.9 * m), m


def adamw(w: float, g: float, state: Any, t: int, lr: float, decay: float) -> tuple[float, Any]:
    m, v = state or (0.0, 0.0)
    m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
    mean, square = m / (1 - 0.8**t), v / (1 - 0.95**t)
    return w - lr * (mean / (math.sqrt(square) + 1e-6) + decay * w), (m, v)


FORMULAS: dict[str, tuple[Callable[..., Optimizer], Callable[..., Any]]] = {
    "sgd": (lambda groups: SGD(groups), sgd),
    "sgd without momentum": (lambda groups: SGD(groups, momentum=0), plain_sgd),
    "nesterov": (lambda groups: SGD(groups, nesterov=True), nesterov),
    "adamw": (lambda groups: AdamW(groups, betas=(0.8, 0.95), eps=1e-6), adamw),
}
ALL: dict[str, Callable[..., Optimizer]] = {
    **{name: make for name, (make, _) in FORMULAS.items()},
    "lamb": lambda groups: LAMB(groups),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str, dtype: str) -> None:
    own, make = parameters(dtype), FORMULAS[name][0]
    before = {key: parameter.data.astype(np.float64) for key, parameter in own.items()}
    optimizer = make(in_groups(own))
    run(optimizer, own, 12)
    histories = list(gradients(12))
    for key, parameter in own.items():
        scale, decay = (SCALE, DECAY) if parameter.data.ndim > 1 else (1.0, 0.0)
        expected = [
            one_number(FORMULAS[name][1], float(before[key][index]), [float(g[key][index]) for g in histories], scale,
                       decay)
            for index in np.ndindex(parameter.shape)
        ]  # fmt: skip
        close(parameter.data, np.reshape(expected, parameter.shape), key)
        assert parameter.dtype == dtype
    assert optimizer.step_count == 12


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lamb(dtype: str) -> None:
    """The trust ratio belongs to a whole array, and only to those that decay."""
    own = parameters(dtype)
    values = {key: parameter.data.astype(np.float64) for key, parameter in own.items()}
    run(LAMB(in_groups(own), betas=(0.8, 0.95), eps=1e-4), own, 12)
    means = {key: np.zeros(value.shape) for key, value in values.items()}
    squares = {key: np.zeros(value.shape) for key, value in values.items()}
    for t, grads in enumerate(gradients(12), start=1):
        for key, g in grads.items():
            means[key] = 0.8 * means[key] + 0.2 * g
            squares[key] = 0.95 * squares[key] + 0.05 * g**2
            step = means[key] / (1 - 0.8**t) / (np.sqrt(squares[key] / (1 - 0.95**t)) + 1e-4)
            lr = RATE / t
            if values[key].ndim > 1:
                step = step + DECAY * values[key]
                lr *= SCALE * np.linalg.norm(values[key].ravel()) / np.linalg.norm(step.ravel())
            values[key] = values[key] - lr * step
    for key, parameter in own.items():
        close(parameter.data, values[key], key)


def test_lamb_trusts_an_array_of_zeros() -> None:
    """A new array of zeros would never move with a ratio of 0, and a gradient of zeros must not give 0 / 0."""
    zeros, still = Parameter(np.zeros((2, 3))), Parameter(np.ones((2, 3)))
    optimizer = LAMB([ParameterGroup(("zeros",), (zeros,), weight_decay=0.1),
                      ParameterGroup(("still",), (still,), weight_decay=1e-300)])  # fmt: skip
    zeros.grad, still.grad = np.full((2, 3), 2.0), np.zeros((2, 3))
    optimizer.step(0.1)
    np.testing.assert_allclose(zeros.data, -0.1, rtol=1e-5)
    np.testing.assert_allclose(still.data, 1.0)


LARGE = {"large": (700, 300), "rows": (3, 70_000), "small": (9,)}


@pytest.mark.parametrize("name", ALL)
def test_pieces_and_threads_make_no_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in the last bit, but for the size of a piece in LAMB's norms."""
    results = {}
    for threads, size in ((1, pieces.PIECE), (4, pieces.PIECE), (2, 1000)):
        monkeypatch.setattr(pieces, "PIECE", size)
        own = parameters("float32", LARGE)
        with parallel._Pool(threads) as pool:
            monkeypatch.setattr(parallel, "num_threads", lambda threads=threads: threads)
            monkeypatch.setattr(parallel, "_pool", lambda workers, pool=pool: pool)
            run(ALL[name](in_groups(own)), own, 3, shapes=LARGE)
            monkeypatch.undo()
        results[threads, size] = {key: parameter.data for key, parameter in own.items()}
    first, *others = results.values()
    assert len(results) == 3
    for number, other in enumerate(others):
        for key, array in first.items():
            if name == "lamb" and number == 1:
                np.testing.assert_allclose(array, other[key], rtol=1e-6)
            else:
                assert np.array_equal(array, other[key]), key


@pytest.mark.parametrize("name", ALL)
def test_any_memory_layout(name: str) -> None:
    results = []
    for order in ("C", "F"):
        own = {"a": Parameter(np.array(parameters()["conv"].data, order=order))}
        optimizer = ALL[name](in_groups(own))
        for grads in gradients(3):
            own["a"].grad = np.array(grads["conv"], order="F" if order == "C" else "C")
            optimizer.step(RATE)
        results.append(own["a"].data)
    close(*results)


def test_nothing_but_parameters_and_state_is_written() -> None:
    own = parameters()
    optimizer = AdamW(in_groups(own))
    grads = next(gradients(1))
    kept = {name: gradient.copy() for name, gradient in grads.items()}
    for name, parameter in own.items():
        parameter.grad = grads[name]
        grads[name].flags.writeable = False
    optimizer.step(RATE)
    for name, parameter in own.items():
        assert parameter.grad is grads[name]
        assert np.array_equal(grads[name], kept[name])


def test_the_array_is_changed_in_place() -> None:
    own = parameters()
    arrays = {name: parameter.data for name, parameter in own.items()}
    run(SGD(in_groups(own)), own, 1)
    for name, parameter in own.items():
        assert np.shares_memory(arrays[name], parameter.data)
        assert np.array_equal(arrays[name], parameter.data)


def test_read_only_values_are_replaced() -> None:
    own = parameters()
    before = own["matrix"].data
    before.flags.writeable = False
    kept = before.copy()
    run(SGD(in_groups(own)), own, 2)
    assert np.array_equal(before, kept)
    assert not np.array_equal(own["matrix"].data, kept)


def test_values_borrowed_from_a_file_stay_in_the_file(tmp_path: Path) -> None:
    network().save(tmp_path / "a.npz")
    model = npresnet.load(tmp_path / "a.npz")
    before = {name: array.copy() for name, array in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape, np.float32)
    SGD(parameter_groups(model, 0.0)).step(0.1)
    assert np.allclose(model.state_dict()["classifier.1.bias"], before["classifier.1.bias"] - 0.1)
    again = npresnet.load(tmp_path / "a.npz").state_dict()
    assert all(np.array_equal(array, before[name]) for name, array in again.items())


@pytest.mark.parametrize("name", ALL)
def test_without_a_gradient_or_frozen(name: str) -> None:
    """Nothing happens, not even decay; and the first gradient that comes later is a first one."""
    own, late = parameters(), parameters()
    del late["bias"], own["bias"]
    optimizer, other = ALL[name](in_groups(own)), ALL[name](in_groups(late))
    optimizer.step(RATE)
    own["matrix"].requires_grad = False
    run(optimizer, own, 1)
    run(other, {key: late[key] for key in ("conv", "scalar")}, 1)
    for key, parameter in own.items():
        assert np.array_equal(parameter.data, late[key].data), key
    assert np.array_equal(own["matrix"].data, parameters()["matrix"].data)
    own["matrix"].requires_grad = True
    run(optimizer, {"matrix": own["matrix"]}, 1)
    run(other, {"matrix": late["matrix"]}, 1)
    assert np.array_equal(own["matrix"].data, late["matrix"].data)
    assert not np.array_equal(own["matrix"].data, parameters()["matrix"].data)


def test_zero_grad() -> None:
    own = parameters()
    optimizer = SGD(in_groups(own))
    run(optimizer, own, 1)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in own.values())


def test_a_model_learns() -> None:
    """All parts together: the loss of one batch goes down."""
    for kind, rate in ((SGD, 0.05), (AdamW, 0.01), (LAMB, 0.02)):
        model = network().train()
        optimizer = kind(parameter_groups(model, 1e-4))
        losses = []
        for _ in range(8):
            losses.append(model(pixels(6, 3, 32, 32), np.arange(6) % 5).loss)
            model.backward()
            optimizer.step(rate)
            optimizer.zero_grad()
        assert losses[-1] < 0.7 * losses[0], kind


# ------------------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_a_restored_optimizer_continues_to_the_last_bit(name: str, dtype: str) -> None:
    whole, part = parameters(dtype), parameters(dtype)
    run(ALL[name](in_groups(whole)), whole, 6)
    first = ALL[name](in_groups(part))
    run(first, part, 3)
    state = first.state_dict()
    kept = {key: array.copy() for key, array in state.items()}
    run(first, part, 1)
    fresh = parameters(dtype)
    run(ALL[name](in_groups(fresh)), fresh, 3)
    second = ALL[name](in_groups(fresh))
    second.load_state_dict(state)
    assert second.step_count == 3
    run(second, fresh, 3, skip=3)
    for key, parameter in whole.items():
        assert np.array_equal(parameter.data, fresh[key].data), key
    assert all(np.array_equal(array, kept[key]) for key, array in state.items())  # nobody has written to it


def test_names_of_the_state() -> None:
    own = {"a.weight": Parameter(np.zeros((2, 3), np.float32))}
    group = [ParameterGroup(("a.weight",), (own["a.weight"],))]
    assert list(SGD(group).state_dict()) == ["step_count", "momentum_buffer.a.weight"]
    assert list(SGD(group, momentum=0).state_dict()) == ["step_count"]
    expected = ["step_count", "step.a.weight", "exp_avg.a.weight", "exp_avg_sq.a.weight"]
    for kind in (AdamW, LAMB):
        state = kind(group).state_dict()
        assert list(state) == expected
        assert {name: (array.shape, array.dtype) for name, array in state.items()} == {
            "step_count": ((), np.int64), "step.a.weight": ((), np.int64),
            "exp_avg.a.weight": ((2, 3), np.float32), "exp_avg_sq.a.weight": ((2, 3), np.float32),
        }  # fmt: skip


WRONG_STATES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "other names": (
        lambda state: {key.replace("matrix", "matrices"): array for key, array in state.items()},
        r"does not fit this AdamW of 4 parameters:\n  step\.matrix is missing.*\n.*\n.*\n  step\.matrices is unknown",
    ),
    "another shape": (
        lambda state: state | {"exp_avg.bias": np.zeros(4)},
        r"exp_avg\.bias has shape \(4,\) and dtype float64, expected \(5,\) and float64",
    ),
    "another dtype": (
        lambda state: state | {"exp_avg.bias": np.zeros(5, np.float32)},
        r"exp_avg\.bias has shape \(5,\) and dtype float32, expected \(5,\) and float64",
    ),
    "a negative count": (lambda state: state | {"step.bias": np.array(-1)}, r"step\.bias is -1, expected a count"),
    "another optimiser": (
        lambda state: SGD(in_groups(parameters())).state_dict(),
        r"step\.conv is missing[\s\S]*\.\.\. and 9 more[\s\S]*momentum_buffer\.conv is unknown",
    ),
    "nothing": (lambda state: {}, "step_count is missing"),
}


@pytest.mark.parametrize("name", WRONG_STATES)
def test_a_wrong_state_changes_nothing(name: str) -> None:
    own = parameters()
    optimizer = AdamW(in_groups(own))
    run(optimizer, own, 2)
    before = optimizer.state_dict()
    change, message = WRONG_STATES[name]
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(change(optimizer.state_dict()))
    after = optimizer.state_dict()
    assert all(np.array_equal(array, after[key]) for key, array in before.items())


def test_further_groups() -> None:
    """Layers that are unfrozen later begin with a fresh state, the others keep theirs."""
    own = parameters()
    weights, others = in_groups(own)
    optimizer = AdamW([weights])
    run(optimizer, {name: own[name] for name in weights.names}, 2)
    before = optimizer.state_dict()
    optimizer.add_group(others)
    after = optimizer.state_dict()
    assert optimizer.groups == [weights, others]
    assert all(np.array_equal(after[name], array) for name, array in before.items())
    assert after["step.bias"] == 0
    assert not after["exp_avg.bias"].any()
    assert repr(optimizer) == "AdamW(4 parameters in 2 groups)"
    with pytest.raises(ValueError, match="parameter 'bias' is in the groups twice"):
        optimizer.add_group(others)


# ------------------------------------------------------------------------------------------------------------ errors

NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: SGD(g, momentum=-0.1), r"momentum must be in \[0, 1\), found -0.1"),
        (lambda g: SGD(g, momentum=1), r"momentum must be in \[0, 1\), found 1"),
        (lambda g: SGD(g, momentum=NAN), "momentum must be a finite number, found nan"),
        (lambda g: SGD(g, momentum=0, nesterov=True), "nesterov=True needs a momentum"),
        (lambda g: AdamW(g, betas=(0.9, 1.0)), r"betas\[1\] must be in \[0, 1\), found 1.0"),
        (lambda g: AdamW(g, betas=(-0.9, 0.9)), r"betas\[0\] must be in \[0, 1\), found -0.9"),
        (lambda g: LAMB(g, betas=(NAN, 0.9)), r"betas\[0\] must be a finite number, found nan"),
        (lambda g: LAMB(g, betas=0.9), r"betas must be two numbers in \[0, 1\), found 0.9"),
        (lambda g: AdamW(g, betas=(0.9,)), r"betas must be two numbers in \[0, 1\), found \(0.9,\)"),
        (lambda g: AdamW(g, eps=0), "eps must be positive, found 0"),
        (lambda g: LAMB(g, eps=-1e-8), "eps must be positive, found -1e-08"),
        (lambda g: SGD([]), "an optimiser needs at least one parameter"),
        (lambda g: SGD([*g, g[0]]), "parameter 'conv' is in the groups twice"),
        (lambda g: SGD([ParameterGroup(("a", "b"), (g[0].parameters[0],) * 2)]), "'b' is in the groups twice"),
        (lambda g: SGD([ParameterGroup(("a",), (Parameter(np.zeros(2, int)),))]), "'a' has dtype int64, expected"),
    ],
)
def test_wrong_hyper_parameters(make: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(in_groups(parameters()))


def test_a_model_or_parameters_in_place_of_groups() -> None:
    for wrong in (network(), network().parameters(), network().state_dict()):
        with pytest.raises(TypeError, match=r"must be a list of ParameterGroup, found .*; use parameter_groups\(model"):
            SGD(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("lr", [-0.1, NAN, float("inf"), "0.1", None, True])
def test_wrong_rate(lr: Any) -> None:
    own = parameters()
    optimizer = SGD(in_groups(own))
    with pytest.raises(ValueError, match="the learning rate must"):
        optimizer.step(lr)
    assert optimizer.step_count == 0


def test_numbers_of_numpy_do_not_widen_float32() -> None:
    own = parameters("float32")
    optimizer = AdamW(in_groups(own), betas=(np.float64(0.9), np.float64(0.99)), eps=np.float64(1e-8))
    for name, gradient in next(gradients(1)).items():
        own[name].grad = gradient.astype(np.float32)
    optimizer.step(np.float64(0.1))
    assert all(parameter.dtype == np.float32 for parameter in own.values())


@pytest.mark.parametrize("wrong", [np.zeros((4, 7)), np.zeros((5, 7), np.float32)])
def test_a_wrong_gradient_changes_nothing(wrong: np.ndarray) -> None:
    own = parameters()
    optimizer = AdamW(in_groups(own))
    for name, gradient in next(gradients(1)).items():
        own[name].grad = gradient
    own["matrix"].grad = wrong
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"the gradient of matrix has shape .* expected those of the parameter"):
        optimizer.step(RATE)
    assert all(np.array_equal(parameter.data, parameters()[name].data) for name, parameter in own.items())
    assert all(np.array_equal(array, state[name]) for name, array in optimizer.state_dict().items())


def test_a_parameter_of_another_dtype_than_at_the_beginning() -> None:
    model = network()
    optimizer = SGD(parameter_groups(model, 0.0))
    model.astype("float64").train()(pixels(dtype="float64"), np.array([0, 1]))
    model.backward()
    with pytest.raises(ValueError, match=r"has changed since the optimiser was made[\s\S]*make a new optimiser"):
        optimizer.step(0.1)


def test_table_of_names() -> None:
    assert {"sgd": SGD, "adamw": AdamW, "lamb": LAMB} == OPTIMIZERS


# -------------------------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_a_compiled_plan_notices_a_step(kind: Callable[..., Optimizer]) -> None:
    model, x = network(), pixels()
    optimizer, plan = kind(parameter_groups(model, 1e-4)), model.compile()
    before = plan(x).logits
    for _ in range(2):
        model.train()(x, np.array([1, 2]))
        model.backward()
        optimizer.step(0.05)
        optimizer.zero_grad()
        model.eval()
        expected = model(x).logits
        np.testing.assert_allclose(plan(x).logits, expected, rtol=1e-4, atol=1e-4)
        assert np.abs(expected - before).max() > 1e-2
        before = expected


def test_a_compiled_plan_notices_a_step_that_changes_one_number() -> None:
    """Most numbers of an array are not looked at; wherever the one is, the next call has it."""
    model, x = network(hidden_sizes=(32, 64), hidden_act="identity"), pixels()
    optimizer, plan = SGD(parameter_groups(model, 0.0), momentum=0), model.compile()
    weight = dict(model.named_parameters())["classifier.1.weight"]
    for index in range(0, weight.size, 43):
        before = plan(x).logits
        weight.grad = np.zeros(weight.shape, np.float32)
        weight.grad.flat[index] = 10.0
        optimizer.step(1.0)
        expected = model(x).logits
        assert np.abs(expected - before).max() > 1e-3
        np.testing.assert_allclose(plan(x).logits, expected, rtol=1e-4, atol=1e-4)
