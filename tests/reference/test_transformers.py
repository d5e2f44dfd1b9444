"""The models against Transformers: outputs, hidden states, losses, every gradient, running statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from agreement import agree
from transformers_pair import DEPTHS, ODD, build, draw, evaluation, ours, same_sides, training_step

import npresnet

# Relative: of values, and of gradients (norm of each parameter's).
TOLERANCES = {"float32": (2e-4, 5e-3), "float64": (1e-10, 1e-8)}
RUNS = [
    pytest.param(backend, name, dtype, id=f"{name}-{dtype}-{backend}")
    for dtype in TOLERANCES
    for name in (*DEPTHS, *ODD)
    for backend in ("numba", "numpy")
    if backend == "numba" or name in ("18", "50", *ODD)
]


@pytest.fixture(autouse=True)
def _backend(request: pytest.FixtureRequest):
    with npresnet.use_backend(request.node.callspec.params["backend"]):
        yield


@pytest.mark.parametrize(("backend", "name", "dtype"), RUNS)
def test_evaluation(backend: str, name: str, dtype: str) -> None:
    known, tolerance = evaluation(name, dtype), TOLERANCES[dtype][0]
    kind = f"{dtype} {backend}"
    spread = known.logits.std(axis=0).mean() / np.abs(known.logits).max()
    assert spread > 1e-3, "the logits hardly depend on the input; the test would show nothing"

    out = ours(known.config, known.state)(known.pixel_values, output_hidden_states=True)
    assert out.logits.dtype == dtype
    assert out.loss is None
    agree(f"logits, {kind}", out.logits, known.logits, tolerance)
    assert len(out.hidden_states) == len(known.hidden_states) == len(known.config["depths"]) + 1
    for found, expected in zip(out.hidden_states, known.hidden_states, strict=True):
        agree(f"hidden states, {kind}", found, expected, tolerance)

    features = ours(known.config, known.state, npresnet.ResNetModel)(known.pixel_values)
    agree(f"last hidden state, {kind}", features.last_hidden_state, known.last_hidden_state, tolerance)
    agree(f"pooler output, {kind}", features.pooler_output, known.pooler_output, tolerance)
    assert features.hidden_states is None
    maps = ours(known.config, known.state, npresnet.ResNetBackbone)(known.pixel_values).feature_maps
    assert len(maps) == 2
    for found, expected in zip(maps, known.feature_maps, strict=True):
        agree(f"feature maps, {kind}", found, expected, tolerance)


@pytest.mark.parametrize(("backend", "name", "dtype"), RUNS)
def test_training_step(backend: str, name: str, dtype: str) -> None:
    tolerance, gradient_tolerance = TOLERANCES[dtype]
    kind = f"{dtype} {backend}"
    theirs, state = build(name, dtype, 0.2 if dtype == "float64" else 0.05)
    model = ours(theirs.config.to_dict(), state)
    samples = (draw(name, dtype, seed) for seed in range(30))
    pixel_values = next(x for x in samples if dtype == "float64" or same_sides(theirs, model, x))
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()})
    model.load_state_dict(state)
    known = training_step(theirs, pixel_values)

    out = model.train()(pixel_values, labels=known.labels)
    agree(f"training logits, {kind}", out.logits, known.logits, tolerance)
    if known.labels is not None:
        agree(f"loss, {kind}", out.loss, known.loss, tolerance)
        dx = model.backward(input_gradient=True)
    else:
        dx = model.backward(known.dlogits, input_gradient=True)
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    assert gradients.keys() == known.gradients.keys()
    for key, expected in known.gradients.items():
        agree(f"gradients, {kind}: {key}", gradients[key], expected, gradient_tolerance, norm=True)
    agree(f"gradient of the pixels, {kind}", dx, known.pixel_gradient, gradient_tolerance, norm=True)

    after = model.state_dict()
    for key, expected in known.statistics.items():
        agree(f"running statistics, {kind}: {key}", after[key], expected, tolerance)
