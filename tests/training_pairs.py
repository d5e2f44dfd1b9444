"""The same network twice: in float32 for compiled training steps, and in float64 for the ordinary path.

Where a float32 and a float64 program take a ReLU's input for different signs, gradients differ by percents although
both are right. So networks are made in which no input is near a kink: after the statistics of a batch are known, the
bias of every BatchNorm is moved by a fraction of a standard deviation, to where a kink falls into the widest gap
between the numbers of its channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from agreement import agree
from calibrated import SMALL, close
from numpy.lib.stride_tricks import sliding_window_view

import npresnet
from npresnet.blocks import ResidualLayer
from npresnet.engine.graph import Graph
from npresnet.engine.training import TrainingPlan
from npresnet.nn import Activation, BatchNorm2d, Dropout, MaxPool2d, Module

KINKS = {"relu": (0.0,), "relu6": (0.0, 6.0), "identity": ()}
NEAR = 3e-4  # standard deviations: ten times the largest rounding error of a single number
SHIFTS = np.linspace(-0.3, 0.3, 601)  # standard deviations that a bias may be moved by


def graph_of(model: Any) -> Graph:
    """From the pixels to the pooled features."""
    return Graph(model.resnet.embedder, model.resnet.encoder, model.resnet.pooler, prefix="resnet.")


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """(N, C, H, W) float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def norms_of(model: Any) -> list[BatchNorm2d]:
    return [module for _, module in model.named_modules() if isinstance(module, BatchNorm2d)]


def draw_alike(model: Any, seed: int = 7) -> None:
    """Let stochastic depth draw the same numbers as in another model."""
    rng = np.random.default_rng(seed)
    for _, module in model.named_modules():
        if isinstance(module, Dropout):
            module.rng = rng


@dataclass
class Results:
    """What a training step leaves behind."""

    pooled: np.ndarray
    gradients: dict[str, np.ndarray | None] = field(default_factory=dict)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)


def gradients_of(model: Any) -> dict[str, np.ndarray | None]:
    """Copies, because the plan uses the arrays again."""
    return {name: None if p.grad is None else p.grad.copy() for name, p in model.resnet.named_parameters()}


def buffers_of(model: Any) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.resnet.named_buffers()}


def compiled_step(plan: TrainingPlan, model: Any, x: np.ndarray, upstream: np.ndarray) -> Results:
    """Forward and backward by the plan."""
    draw_alike(model)
    pooled = plan.forward(x)
    plan.backward(upstream)
    return Results(pooled, gradients_of(model), buffers_of(model))


def ordinary_step(model: Any, x: np.ndarray, upstream: np.ndarray) -> Results:
    """Forward and backward layer by layer, in the model's dtype."""
    draw_alike(model)
    dtype = model.dtype
    with npresnet.use_backend("numpy"):
        pooled = model.train().resnet(x.astype(dtype)).pooler_output
        if model.resnet.learns:
            model.resnet.backward(d_pooler_output=upstream.astype(dtype)[:, :, None, None])
    return Results(pooled[:, :, 0, 0], gradients_of(model), buffers_of(model))


def assert_same(found: Results, expected: Results) -> None:
    """To the last bit."""
    assert np.array_equal(found.pooled, expected.pooled)
    assert found.gradients.keys() == expected.gradients.keys()
    for name, gradient in expected.gradients.items():
        assert (found.gradients[name] is None) == (gradient is None), name
        assert gradient is None or np.array_equal(found.gradients[name], gradient), name  # type: ignore[arg-type]
    for name, array in expected.buffers.items():
        assert np.array_equal(found.buffers[name], array), name


def assert_close(what: str, found: Results, expected: Results, rms: float, largest: float) -> None:
    """Up to rounding, relative to the standard deviation of each array."""
    close(f"{what}, pooled", found.pooled, expected.pooled, rms, largest)
    assert found.pooled.dtype == np.float32
    assert found.gradients.keys() == expected.gradients.keys()
    for name, exact in expected.gradients.items():
        own = found.gradients[name]
        assert (own is None) == (exact is None), name
        if own is not None and exact is not None:
            assert own.dtype == np.float32
            close(f"{what}, gradients: {name}", own, exact, rms, largest)
    for name, exact in expected.buffers.items():
        own = found.buffers[name]
        assert own is not None
        if name.endswith("tracked"):
            assert (own, own.dtype) == (exact, np.int64), name
        else:
            assert own.dtype == np.float32
            agree(f"{what}, statistics: {name}", own, exact, 1e-6)


class Pair:
    """A network in float32, its copy in float64, a batch and the gradient of its pooled features.

    Parameters
    ----------
    shape : (N, H, W)
        Of the batch.
    freeze : callable, optional
        Changes a model before training: freezes parameters, holds statistics.
    seed : int
        Tried first; followed by others while some number lies near a kink.
    loudness : float
        Of the feature maps; 1 seldom reaches the upper bound of ReLU6.
    **fields
        Of the configuration, beside those of ``SMALL``.
    """

    def __init__(
        self, shape: tuple[int, int, int], freeze: Callable[[Any], Any] | None = None, seed: int = 0,
        loudness: float = 1.0, **fields: Any,
    ) -> None:  # fmt: skip
        self.config = npresnet.ResNetConfig(**{**SMALL, **fields})
        self.freeze = freeze
        for attempt in range(seed, seed + 20):
            self.x = pixels(shape[0], self.config.num_channels, *shape[1:], seed=attempt)
            self.state = tame_state(self.config, self.x, freeze, attempt, loudness)
            self.double = self.model(np.float64)
            if far_from_kinks(self.double, self.x):
                break
        else:
            raise AssertionError("no sample is far from all kinks")
        features = self.double.resnet.config.hidden_sizes[-1]
        self.upstream = np.random.default_rng(seed + 100).standard_normal((shape[0], features)).astype(np.float32)
        self.double = self.model(np.float64)

    def model(self, dtype: Any = np.float32) -> Any:
        """A new model with the weights of this pair."""
        model = npresnet.ResNetForImageClassification(self.config, seed=0).astype(dtype)
        model.load_state_dict(self.state)
        if self.freeze:
            self.freeze(model)
        return model.train()

    def expected(self) -> Results:
        """By the ordinary path in float64."""
        return ordinary_step(self.model(np.float64), self.x, self.upstream)

    def ordinary_in_float32(self) -> Results:
        """To see how large rounding errors are."""
        return ordinary_step(self.model(), self.x, self.upstream)

    def found(self, model: Any = None, **options: Any) -> Results:
        """By a new plan."""
        model = model or self.model()
        return compiled_step(TrainingPlan(graph_of(model), **options), model, self.x, self.upstream)


def tame_state(
    config: npresnet.ResNetConfig, x: np.ndarray, freeze: Callable[[Any], Any] | None, seed: int, loudness: float
) -> dict[str, np.ndarray]:
    """Weights and statistics of a network that is not chaotic and has no numbers near kinks on this batch."""
    model = npresnet.ResNetForImageClassification(config, seed=seed).astype(np.float64)
    rng = np.random.default_rng(seed + 1)
    norms = norms_of(model)
    for norm in norms:
        sign = rng.choice([-1, 1], norm.weight.shape)
        norm.weight.data = loudness * rng.uniform(0.5, 1.5, norm.weight.shape) * sign
        norm.bias.data = rng.normal(0, 0.2, norm.bias.shape)
    for _, module in model.named_modules():
        if isinstance(module, ResidualLayer) and module.shortcut is not None:
            last: Any = module.layer.layers[-1]
            last.normalization.weight.data = last.normalization.weight.data * 0.5
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the statistics of this batch
    x = x.astype(np.float64)
    with npresnet.use_backend("numpy"):
        draw_alike(model)
        model.train()(x)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.running_mean = norm.running_mean + rng.normal(0, 0.2, norm.weight.shape) * np.sqrt(norm.running_var)
            norm.running_var = norm.running_var * rng.uniform(0.7, 1.3, norm.weight.shape)
        model.load_state_dict({name: _float32(array) for name, array in model.state_dict().items()})
        if freeze:
            freeze(model)
        statistics = {name: array.copy() for name, array in model.named_buffers()}
        widen_gaps(model, x)
    return {**model.state_dict(), **statistics}


def _float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32).astype(np.float64) if array.dtype == np.float64 else array


def widen_gaps(model: Any, x: np.ndarray) -> None:
    """Move the biases of BatchNorms, one after the other, so that no activation's input is near a kink."""
    draw_alike(model)
    watched = activations_with_norms(model)
    for activation, norm, drop in watched:
        activation.forward = _widening(activation, norm, drop)  # type: ignore[method-assign]
    model(x)
    for activation, _, _ in watched:
        del activation.forward


def _widening(activation: Activation, norm: BatchNorm2d, drop: Dropout | None) -> Callable[[np.ndarray], np.ndarray]:
    ordinary = activation.forward

    def forward(x: np.ndarray) -> np.ndarray:
        factor = np.ones((len(x), 1)) if drop is None or drop.rate == 0 else drop._cache.mask[:, :, 0, 0]
        shift = np.zeros(x.shape[1])
        for channel in range(x.shape[1] if KINKS[activation.name] else 0):
            shift[channel] = best_shift(x[:, channel].reshape(len(x), -1), factor, KINKS[activation.name])
        shift = _float32(norm.bias.data + shift) - norm.bias.data
        norm.bias.data = norm.bias.data + shift
        return ordinary(x + factor[:, :, None, None] * shift[:, None, None])

    return forward


def best_shift(values: np.ndarray, factor: np.ndarray, kinks: tuple[float, ...]) -> float:
    """How far to move numbers (N, M), each image times its factor (N, 1), so that none is near a kink."""
    shifts = SHIFTS * values.std()
    distance = np.full(len(shifts), np.inf)
    for kink in kinks:
        near = np.sort(values[(factor > 0).ravel()].ravel() - kink) / (factor.max() or 1)  # moved by the shift itself
        if near.size:
            at = np.clip(np.searchsorted(near, -shifts), 1, max(1, near.size - 1))
            for neighbour in (at - 1, np.minimum(at, near.size - 1)):
                distance = np.minimum(distance, np.abs(near[neighbour] + shifts))
    enough = np.flatnonzero(distance >= 0.5 * distance.max())  # the smallest shift that is nearly the best
    return float(shifts[enough[np.abs(shifts[enough]).argmin()]])


def activations_with_norms(model: Any) -> list[tuple[Activation, BatchNorm2d, Dropout | None]]:
    """Every activation, the BatchNorm that can move its input, and what lies between."""
    found: list[tuple[Activation, BatchNorm2d, Dropout | None]] = []
    for _, module in model.named_modules():
        if isinstance(module, ResidualLayer):
            last: Any = module.layer.layers[-1]
            found.append((module.activation, last.normalization, module.drop_path))
        elif isinstance(getattr(module, "activation", None), Activation):
            found.append((module.activation, module.normalization, None))  # type: ignore[union-attr]
    return found


def far_from_kinks(model: Any, x: np.ndarray, near: float = NEAR) -> bool:
    """Whether no number of a forward pass could change sides by rounding: at an activation's kink, or in a max-pool.

    A number that is exactly on a kink is so in every program: another activation has cut it off.
    """
    distances: list[float] = []

    def watch(module: Module, measure: Callable[[np.ndarray], float]) -> None:
        ordinary = module.forward

        def forward(x: np.ndarray) -> np.ndarray:
            distances.append(measure(x) / max(float(x.std()), 1e-30))
            return ordinary(x)

        module.forward = forward  # type: ignore[method-assign]

    watched = [module for _, module in model.named_modules() if isinstance(module, (Activation, MaxPool2d))]
    for module in watched:
        if isinstance(module, Activation):
            watch(module, lambda x, kinks=KINKS[module.name]: _distance(x, kinks))  # type: ignore[misc]
        else:
            watch(module, lambda x, kernel=module.kernel: 30 * _lead(x, kernel))  # type: ignore[misc]
    draw_alike(model)
    with npresnet.use_backend("numpy"):
        model.train()(x.astype(model.dtype))
    for module in watched:
        del module.forward
    return min(distances, default=np.inf) >= near


def _distance(x: np.ndarray, kinks: tuple[float, ...]) -> float:
    return min((float(np.abs(x - kink)[x != kink].min(initial=np.inf)) for kink in kinks), default=np.inf)


def _lead(x: np.ndarray, kernel: int) -> float:
    """By how much the largest number of any window, wherever it lies, exceeds the next.

    Equal ones are zero, or the upper bound of ReLU6, and are so in every program.
    """
    border = ((0, 0), (0, 0), (kernel - 1, kernel - 1), (kernel - 1, kernel - 1))
    windows = sliding_window_view(np.pad(x, border, constant_values=-np.inf), (kernel, kernel), (2, 3))
    first, second = np.moveaxis(np.sort(windows.reshape(*windows.shape[:4], -1), axis=-1)[..., -2:], -1, 0)[::-1]
    some = np.isfinite(second) & (first != second)
    return float((first - second)[some].min(initial=np.inf))
