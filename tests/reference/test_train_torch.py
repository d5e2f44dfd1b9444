"""Optimisers, clipping, schedules and averages against torch.optim, over tens of steps in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from small import network, pixels

from npresnet.nn import Parameter
from npresnet.train import (
    SGD,
    AdamW,
    ExponentialAverage,
    ParameterGroup,
    clip_gradients,
    make_schedule,
    parameter_groups,
)

torch.set_num_threads(1)

STEPS = 40
SHAPES = {"weight": (5, 3, 3, 3), "matrix": (7, 11), "bias": (7,), "scalar": (), "untouched": (4,)}
LARGE = {"large": (300, 700), "small": (3,)}  # several pieces


def gradients(shapes: dict[str, tuple[int, ...]], steps: int = STEPS) -> Iterator[dict[str, np.ndarray | None]]:
    """For each step and parameter a gradient, of sizes that differ by orders of magnitude; now and then none."""
    rng = np.random.default_rng(1)
    for step in range(steps):
        yield {
            name: None
            if name == "untouched" or (name == "bias" and step % 5 == 0)
            else np.asarray(rng.standard_normal(shape) * 10.0 ** rng.integers(-4, 2))
            for name, shape in shapes.items()
        }


def pairs(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[Parameter, torch.nn.Parameter]]:
    """The same random numbers twice."""
    rng = np.random.default_rng(0)
    arrays = {name: np.asarray(rng.standard_normal(shape)) for name, shape in shapes.items()}
    return {name: (Parameter(array), torch.nn.Parameter(torch.tensor(array.copy()))) for name, array in arrays.items()}


def set_gradients(both: dict[str, tuple[Parameter, torch.nn.Parameter]], grads: dict[str, np.ndarray | None]) -> None:
    for name, (mine, theirs) in both.items():
        gradient = grads[name]
        mine.grad = None if gradient is None else gradient.copy()
        theirs.grad = None if gradient is None else torch.tensor(gradient)


OPTIMIZERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "plain": (lambda g: SGD(g, momentum=0), lambda g: torch.optim.SGD(g, lr=1)),
    "momentum": (lambda g: SGD(g), lambda g: torch.optim.SGD(g, lr=1, momentum=0.9)),
    "nesterov": (
        lambda g: SGD(g, momentum=0.7, nesterov=True),
        lambda g: torch.optim.SGD(g, lr=1, momentum=0.7, nesterov=True),
    ),
    "adamw": (lambda g: AdamW(g), lambda g: torch.optim.AdamW(g, lr=1)),
    "adamw, other betas": (
        lambda g: AdamW(g, betas=(0.0, 0.95), eps=1e-3),
        lambda g: torch.optim.AdamW(g, lr=1, betas=(0.0, 0.95), eps=1e-3),
    ),
}


@pytest.mark.parametrize("shapes", [SHAPES, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Two groups with other rates and decays, and a rate that changes at every step."""
    both = pairs(shapes)
    first, *rest = both
    make, make_theirs = OPTIMIZERS[name]
    optimizer = make([
        ParameterGroup((first,), (both[first][0],), lr_scale=0.3, weight_decay=0.05),
        ParameterGroup(tuple(rest), tuple(both[n][0] for n in rest), weight_decay=0.0),
    ])  # fmt: skip
    other = make_theirs([
        {"params": [both[first][1]], "weight_decay": 0.05},
        {"params": [both[n][1] for n in rest], "weight_decay": 0.0},
    ])  # fmt: skip
    steps = STEPS if shapes is SHAPES else 4
    for step, grads in enumerate(gradients(shapes, steps)):
        set_gradients(both, grads)
        lr = 0.02 / (1 + step)
        optimizer.step(lr)
        other.param_groups[0]["lr"], other.param_groups[1]["lr"] = 0.3 * lr, lr
        other.step()
    for key, (mine, theirs) in both.items():
        np.testing.assert_allclose(mine.data, theirs.detach().numpy(), rtol=1e-13, atol=1e-13, err_msg=key)


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e6, float("inf")])
def test_clip_gradients(max_norm: float) -> None:
    for shapes in (SHAPES, LARGE):
        both = pairs(shapes)
        for grads in gradients(shapes, 3):
            set_gradients(both, grads)
            norm = clip_gradients([mine for mine, _ in both.values()], max_norm)
            expected = torch.nn.utils.clip_grad_norm_([theirs for _, theirs in both.values()], max_norm)
            assert norm == pytest.approx(expected.item(), rel=1e-14)
            for mine, theirs in both.values():
                assert (mine.grad is None) == (theirs.grad is None)
                if mine.grad is not None and theirs.grad is not None:
                    np.testing.assert_allclose(mine.grad, theirs.grad.numpy(), rtol=1e-14)


# ------------------------------------------------------------------------------------------------------- schedules

TOTAL = 60


def torch_curve(make: Callable[[torch.optim.Optimizer], Any]) -> list[float]:
    """The rate at every step, for a base rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def curve(name: str, total: int = TOTAL, **options: Any) -> list[float]:
    schedule = make_schedule(name, total, **options)
    return [schedule(step) for step in range(total)]


lr_scheduler = torch.optim.lr_scheduler


def warmed(optimizer: Any, then: Any, steps: int, start: float) -> Any:
    first = lr_scheduler.LinearLR(optimizer, start_factor=start, end_factor=1.0, total_iters=steps)
    return lr_scheduler.SequentialLR(optimizer, [first, then], milestones=[steps])


def test_constant() -> None:
    assert curve("constant") == [1.0] * TOTAL


def test_step() -> None:
    expected = torch_curve(lambda o: lr_scheduler.MultiStepLR(o, [10, 30, 31], gamma=0.3))
    np.testing.assert_allclose(curve("step", milestones=[10, 30, 31], gamma=0.3), expected, rtol=1e-13)


@pytest.mark.parametrize("final", [0.0, 0.05])
def test_cosine(final: float) -> None:
    expected = torch_curve(lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=final))
    np.testing.assert_allclose(curve("cosine", final=final), expected, rtol=1e-10, atol=1e-14)


def torch_one_cycle(total: int, **options: float) -> list[float]:
    """The same, for a scheduler that refuses to go one step further."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=total, **options)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(total - 1):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("total", [1, 3, 7, 60])
@pytest.mark.parametrize("pct_start", [0.3, 0.5, 0.01])
def test_one_cycle(total: int, pct_start: float) -> None:
    options = {"pct_start": pct_start, "div_factor": 10.0, "final_div_factor": 100.0}

    expected = torch_one_cycle(total, **options)
    np.testing.assert_allclose(curve("one_cycle", total, **options), expected, rtol=1e-12)


def test_one_cycle_has_the_defaults_of_torch() -> None:
    np.testing.assert_allclose(curve("one_cycle"), torch_one_cycle(TOTAL), rtol=1e-12)


@pytest.mark.parametrize("start", [0.01, 0.5])
def test_warm_up(start: float) -> None:
    options: dict[str, Any] = {"warmup_steps": 8, "warmup_start": start}
    expected = torch_curve(lambda o: warmed(o, lr_scheduler.CosineAnnealingLR(o, TOTAL - 8), 8, start))
    np.testing.assert_allclose(curve("cosine", **options), expected, rtol=1e-10, atol=1e-14)
    expected = torch_curve(lambda o: warmed(o, lr_scheduler.MultiStepLR(o, [12, 32]), 8, start))
    np.testing.assert_allclose(curve("step", milestones=[20, 40], **options), expected, rtol=1e-12)


# --------------------------------------------------------------------------------------------------------- averages


def test_average() -> None:
    """torch's average begins at its first update."""
    model = network(dtype="float64")

    class Arrays(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, array in model.state_dict().items():
                self.register_buffer(name.replace(".", "/"), torch.tensor(array))

    theirs = Arrays()
    make = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    other = torch.optim.swa_utils.AveragedModel(theirs, multi_avg_fn=make, use_buffers=True)
    other.update_parameters(theirs)
    mine = ExponentialAverage(model, 0.9, warmup=False)
    rng = np.random.default_rng(0)
    groups = parameter_groups(model, 0.0)
    for _ in range(10):
        for parameter in model.parameters():
            parameter.grad = rng.standard_normal(parameter.shape)
        SGD(groups).step(0.1)
        model.train()(pixels(dtype="float64"))  # changes the running statistics
        mine.update()
        theirs.load_state_dict({name.replace(".", "/"): torch.tensor(a) for name, a in model.state_dict().items()})
        other.update_parameters(theirs)
    with mine.swapped():
        found = model.state_dict()
    expected = {name.replace("/", "."): tensor.numpy() for name, tensor in other.module.state_dict().items()}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if not name.endswith("tracked"):  # a counter, which torch leaves alone
            np.testing.assert_allclose(found[name], array, rtol=1e-13, atol=1e-14, err_msg=name)
