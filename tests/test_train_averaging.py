"""Averages of weights and statistics: formula, warm-up, in and out of the model, state, plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small import network, pixels, randomize

import npresnet
from npresnet.train import SGD, ExponentialAverage, parameter_groups


def vary(model: Any, seed: int) -> dict[str, np.ndarray]:
    """Other numbers in all arrays; returns them."""
    rng = np.random.default_rng(seed)
    state = {
        name: np.array(seed) if name.endswith("tracked") else rng.uniform(0.5, 1.5, array.shape)
        for name, array in model.state_dict().items()
    }
    model.load_state_dict(state)
    return state


def averages(average: ExponentialAverage) -> dict[str, np.ndarray]:
    return {name.removeprefix("average."): a for name, a in average.state_dict().items() if name != "updates"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("warmup", [True, False])
def test_formula(warmup: bool, dtype: str) -> None:
    model = network(dtype=dtype)
    expected = {name: array.astype(np.float64) for name, array in model.state_dict().items()}
    average = ExponentialAverage(model, 0.7, warmup)
    for step in range(30):
        values = vary(model, step + 1)
        average.update()
        decay = min(0.7, (1 + step) / (10 + step)) if warmup else 0.7  # the warm-up ends at step 20
        for name, value in values.items():
            counter = name.endswith("tracked")
            expected[name] = value if counter else decay * expected[name] + (1 - decay) * value
    assert average.updates == 30
    found = averages(average)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-13 if dtype == "float64" else 1e-6, err_msg=name)
        assert found[name].dtype == model.state_dict()[name].dtype


def test_it_begins_with_the_weights_and_does_not_share_them() -> None:
    model = network()
    average = ExponentialAverage(model, 0.9)
    before = model.state_dict()
    for parameter in model.parameters():
        parameter.data += 1
    assert all(np.array_equal(array, before[name]) for name, array in averages(average).items())


def test_swapped() -> None:
    model = network()
    average = ExponentialAverage(model, 0.9)
    vary(model, 1)
    average.update()
    expected, own = averages(average), model.state_dict()
    arrays = [parameter.data for parameter in model.parameters()]
    with average.swapped() as same:
        assert same is model
        assert all(np.array_equal(array, expected[name]) for name, array in model.state_dict().items())
    assert all(np.array_equal(array, own[name]) for name, array in model.state_dict().items())
    assert all(parameter.data is array for parameter, array in zip(model.parameters(), arrays, strict=True))


def test_an_error_within_the_context_puts_the_weights_back() -> None:
    model = network()
    average = ExponentialAverage(model, 0.9)
    own = vary(model, 1)
    with pytest.raises(KeyboardInterrupt), average.swapped():
        raise KeyboardInterrupt
    assert all(np.allclose(array, own[name]) for name, array in model.state_dict().items())
    average.update()  # which it would refuse within the context


def test_batches_within_the_context_do_not_change_the_statistics() -> None:
    """A forward pass in training mode replaces the arrays of the statistics; both sets survive it."""
    model = network()
    average = ExponentialAverage(model, 0.9)
    own, expected = vary(model, 1), averages(average)
    with average.swapped():
        model.train()(pixels())
    assert all(np.allclose(array, own[name]) for name, array in model.state_dict().items())
    assert all(np.array_equal(array, expected[name]) for name, array in averages(average).items())


def test_the_averages_of_a_training_are_better_than_noise() -> None:
    """With an optimiser: what it changes in place reaches the average, and the average stays out of its way."""
    model, other = (network() for _ in range(2))
    average = ExponentialAverage(model, 0.5, warmup=False)
    optimizers = [SGD(parameter_groups(m, 0.0)) for m in (model, other)]
    for step in range(3):
        for m, optimizer in zip((model, other), optimizers, strict=True):
            for parameter in m.parameters():
                parameter.grad = np.full(parameter.shape, 1 + step, np.float32)
            optimizer.step(0.01)
        average.update()
        with average.swapped():
            pass
    assert all(np.array_equal(a.data, b.data) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert all(not np.array_equal(a, model.state_dict()[n]) for n, a in averages(average).items() if a.ndim == 4)


def test_a_compiled_plan_notices_the_swap() -> None:
    model, x = network(), pixels()
    average, plan = ExponentialAverage(model, 0.5, warmup=False), model.compile()
    for seed in (1, 2):
        randomize(model, seed)
        average.update()
        own = model(x).logits
        with average.swapped():
            averaged = model(x).logits
            np.testing.assert_allclose(plan(x).logits, averaged, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(plan(x).logits, own, rtol=1e-4, atol=1e-4)
        assert np.abs(own - averaged).max() > 1e-3


def test_a_compiled_plan_notices_a_single_number_that_has_changed_since_the_last_swap() -> None:
    """It is called with averages only, and they are always in the same memory."""
    model, x = network(hidden_sizes=(32, 64), hidden_act="identity"), pixels()
    average, plan = ExponentialAverage(model, 0.0, warmup=False), model.compile()
    weight = dict(model.named_parameters())["classifier.1.weight"]
    for index in range(0, weight.size, 43):
        with average.swapped():
            before = plan(x).logits
        weight.data.flat[index] += 10
        average.update()
        with average.swapped():
            found, expected = plan(x).logits, model(x).logits
        assert np.abs(expected - before).max() > 1e-3
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------- state


def test_a_restored_average_continues_to_the_last_bit() -> None:
    model = network()
    whole = ExponentialAverage(model, 0.9)
    for seed in range(4):
        vary(model, seed)
        whole.update()
        if seed == 1:
            state = whole.state_dict()
    part = ExponentialAverage(network(), 0.9)
    part.load_state_dict(state)
    for seed in (2, 3):
        vary(part.model, seed)
        part.update()
    assert part.updates == state["updates"] + 2 == 4
    assert all(np.array_equal(array, averages(whole)[name]) for name, array in averages(part).items())


WRONG_STATES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "another network": (
        lambda state: ExponentialAverage(network(depths=(3, 1)), 0.9).state_dict(),
        r"averages of this ResNetForImageClassification:\n  average\.resnet\.encoder\.stages\.0\.layers\.2\..* unknown",
    ),
    "another number of classes": (
        lambda state: ExponentialAverage(network(num_labels=3), 0.9).state_dict(),
        r"average\.classifier\.1\.weight has shape \(3, 12\) and dtype float32, expected \(5, 12\) and float32",
    ),
    "a negative count": (lambda state: state | {"updates": np.array(-1)}, "updates is -1, expected a count"),
    "no count": (lambda state: {k: v for k, v in state.items() if k != "updates"}, "updates is missing"),
}


@pytest.mark.parametrize("name", WRONG_STATES)
def test_a_wrong_state_changes_nothing(name: str) -> None:
    average = ExponentialAverage(network(), 0.9)
    before = average.state_dict()
    change, message = WRONG_STATES[name]
    with pytest.raises(ValueError, match=message):
        average.load_state_dict(change(average.state_dict()))
    after = average.state_dict()
    assert all(np.array_equal(array, after[key]) for key, array in before.items())


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan"), None])
def test_wrong_decay(decay: Any) -> None:
    with pytest.raises(ValueError, match="decay must be"):
        ExponentialAverage(network(), decay)


def test_calls_that_make_no_sense_within_the_context() -> None:
    average = ExponentialAverage(network(), 0.9)
    state = average.state_dict()
    with average.swapped():
        with pytest.raises(RuntimeError, match=r"leave swapped\(\) before update\(\)"):
            average.update()
        with pytest.raises(RuntimeError, match=r"leave swapped\(\) before load_state_dict\(\)"):
            average.load_state_dict(state)
        with pytest.raises(RuntimeError, match=r"leave swapped\(\) before swapped\(\)"), average.swapped():
            pass


def test_a_model_that_has_changed() -> None:
    for change in (
        lambda model: model.reset_classifier(3),
        lambda model: model.astype("float64"),
        lambda model: setattr(model, "extra", npresnet.nn.Linear(2, 3)),
    ):
        model = network()
        average = ExponentialAverage(model, 0.9)
        change(model)
        for call in (average.update, lambda average=average: average.swapped().__enter__()):
            with pytest.raises(ValueError, match="the model has changed since its average was begun; begin a new one"):
                call()
