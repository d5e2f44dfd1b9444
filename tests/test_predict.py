"""Predictions: kinds of pictures, ranking, scores by problem type, modes, threads."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import agree
from PIL import Image
from small import CIFAR, network, pictures

from npresnet import ImageError, ImageProcessor, Prediction, use_backend

LABELS = {0: "cat", 1: "dog", 2: "cow", 3: "hen", 4: "pig"}


def model_of(**fields: Any) -> Any:
    """A model for pictures of 32 pixels."""
    model = network(**({"id2label": LABELS} | fields))
    model.processor = ImageProcessor.torchvision(40, 32)
    return model


def logits(model: Any, images: Any) -> np.ndarray:
    """What the model says, step by step."""
    return model(model.processor(images)).logits.astype(np.float64)


def test_every_kind_of_picture(tmp_path: Path) -> None:
    model, array = model_of(), pictures(1)[0]
    Image.fromarray(array).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    expected = model.predict(array)
    assert isinstance(expected, list)
    assert all(type(p) is Prediction for p in expected)
    sources = (Image.fromarray(array), tmp_path / "a.png", str(tmp_path / "a.png"), content, io.BytesIO(content))
    for source in (*sources, array.astype(np.float64) / 255):
        assert model.predict(source) == expected, type(source)
        if isinstance(source, io.BytesIO):
            source.seek(0)
    assert model.predict([array]) == [expected]
    pair = model.predict((array, tmp_path / "a.png"))
    assert pair[0] == pair[1]
    assert [p[:2] for p in pair[0]] == [p[:2] for p in expected]
    assert model.predict([]) == []
    grey = model.predict(array[:, :, 0])
    assert grey == model.predict(np.repeat(array[:, :, :1], 3, axis=2))


def test_softmax_ranked_best_first() -> None:
    model, images = model_of(), pictures(3)
    scores = logits(model, images)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    for ranked, row in zip(model.predict(images), expected, strict=True):
        assert [p.index for p in ranked] == np.argsort(-row).tolist()
        assert [p.label for p in ranked] == [LABELS[p.index] for p in ranked]
        agree("softmax", [p.score for p in ranked], np.sort(row)[::-1], 1e-6)
        assert sum(p.score for p in ranked) == pytest.approx(1)


def test_sigmoid_for_a_multi_label_model() -> None:
    model, images = model_of(problem_type="multi_label_classification"), pictures(2)
    expected = 1 / (1 + np.exp(-logits(model, images)))
    for ranked, row in zip(model.predict(images), expected, strict=True):
        agree("sigmoid", [p.score for p in ranked], np.sort(row)[::-1], 1e-6)


@pytest.mark.parametrize("fields", [{"problem_type": "regression"}, {"num_labels": 1, "id2label": {0: "age"}}])
def test_plain_scores_of_a_regression(fields: dict[str, Any]) -> None:
    model, images = model_of(**fields), pictures(2)
    exact = model_of(**fields).astype(np.float64)
    pixels = exact.processor(images).astype(np.float64)
    features, layer = exact.resnet(pixels).pooler_output.reshape(2, -1), exact.classifier[1]
    summed = np.abs(features) @ np.abs(layer.weight.data).T  # a sum is as exact as its terms
    for ranked, row, size in zip(model.predict(images), exact(pixels).logits, summed, strict=True):
        error = np.abs([p.score for p in ranked] - np.sort(row)[::-1])
        agree("regression scores", error + size.max(), np.full(len(row), size.max()), 1e-6)
        assert ranked[0].label in (*LABELS.values(), "age")


def test_scores_of_huge_logits_are_finite() -> None:
    for problem_type in ("single_label_classification", "multi_label_classification"):
        model = model_of(problem_type=problem_type)
        state = model.state_dict()
        state["classifier.1.bias"] = np.array([1e4, -1e4, 0, 2e4, -2e4])
        model.load_state_dict(state)
        with np.errstate(all="raise", under="ignore"):
            scores = [p.score for p in model.predict(pictures(1)[0])]
        assert all(0 <= score <= 1 for score in scores)


def test_top_k() -> None:
    model, image = model_of(), pictures(1)[0]
    everything = model.predict(image, top_k=100)
    assert len(everything) == 5
    assert model.predict(image, top_k=2) == everything[:2]
    assert len(model_of(num_labels=10, id2label=None).predict(image)) == 5
    for wrong in ({"top_k": 0}, {"batch_size": 0}, {"top_k": -1}):
        with pytest.raises(ValueError, match="top_k and batch_size must be at least 1"):
            model.predict(image, **wrong)


def test_batches_do_not_matter() -> None:
    model, images = model_of(), pictures(5)
    expected = model.predict(images)
    for batch_size in (1, 2, 5):
        for found, ranked in zip(model.predict(images, batch_size=batch_size), expected, strict=True):
            assert [p.index for p in found] == [p.index for p in ranked]
            agree("scores by batch size", [p.score for p in found], [p.score for p in ranked], 1e-5)


def test_the_mode_is_restored() -> None:
    model, image = model_of(dropout=0.5), pictures(1)[0]
    expected, before = model.predict(image), model.state_dict()
    model.train()
    assert model.predict(image) == expected, "predictions are made in evaluation mode"
    assert all(module.training and module.keeps_cache for _, module in model.named_modules())
    with pytest.raises(ImageError):
        model.predict("nowhere.png")
    assert model.training
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    assert not model.eval().training
    model.predict(image)
    assert not model.training
    assert all(module._cache is None for _, module in model.named_modules())


def test_a_float64_model_predicts() -> None:
    image = pictures(1)[0]
    single, double = model_of().predict(image), model_of(dtype="float64").predict(image)
    agree("float64 predictions", [p.score for p in double], [p.score for p in single], 1e-5)


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    model = model_of()
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        model.predict([pictures(1)[0], tmp_path / "bad.jpg"])
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        model.predict(tmp_path / "missing.jpg")
    with pytest.raises(ImageError):
        model.predict(np.zeros((2, 40, 40, 3), np.uint8))


def test_default_preprocessing() -> None:
    assert network().processor == ImageProcessor.transformers()
    assert network(**CIFAR).processor == ImageProcessor.cifar()
    assert network(num_channels=1).processor.num_channels == 1


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_threads(backend: str) -> None:
    """Four threads share one model, and each gets what it would get alone."""
    model, images = model_of(), pictures(8)
    with use_backend(backend):
        expected = [model.predict(image) for image in images]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(4):
                assert list(pool.map(model.predict, images, timeout=60)) == expected
