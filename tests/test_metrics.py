"""Measures of a classifier, against their definitions written out image by image."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import toy

import npresnet
from npresnet.train.data import ArrayDataset
from npresnet.train.labels import match_classes
from npresnet.train.metrics import Evaluation, Metrics
from npresnet.train.report import format_evaluation, save_evaluation


def sample(images: int = 200, classes: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) with some skill, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(0, 2, (images, classes))
    logits[np.arange(images), labels] += 2
    return logits.astype(np.float32), labels


def evaluate(logits: np.ndarray, labels: np.ndarray, batch: int = 64) -> Evaluation:
    metrics = Metrics(logits.shape[1])
    for start in range(0, len(labels), batch):
        metrics.update(logits[start : start + batch], labels[start : start + batch])
    return metrics.evaluation([f"class {n}" for n in range(logits.shape[1])])


def test_every_measure_by_its_definition() -> None:
    logits, labels = sample()
    result = evaluate(logits, labels)
    loss, top1, top5, confusion = 0.0, 0, 0, np.zeros((8, 8), int)
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(15)]
    for z, label in zip(logits.astype(float).tolist(), labels.tolist(), strict=True):
        p = [math.exp(v) for v in z]
        p = [v / sum(p) for v in p]
        ranking = sorted(range(8), key=lambda k: -p[k])
        loss -= math.log(p[label])
        top1 += ranking[0] == label
        top5 += label in ranking[:5]
        confusion[label, ranking[0]] += 1
        confidence = max(p)
        place = next(b for b in range(15) if b / 15 < confidence <= (b + 1) / 15)
        bins[place].append((confidence, ranking[0] == label))
    error = 0.0
    for b, members in enumerate(bins):
        assert result.calibration.counts[b] == len(members)
        if not members:
            assert math.isnan(result.calibration.accuracy[b])
            continue
        confidence, accuracy = (sum(values) / len(members) for values in zip(*members, strict=True))
        assert result.calibration.confidence[b] == pytest.approx(confidence)
        assert result.calibration.accuracy[b] == pytest.approx(accuracy)
        error += len(members) / 200 * abs(confidence - accuracy)
    assert result.calibration.error == pytest.approx(error)
    assert result.loss == pytest.approx(loss / 200)
    assert (result.top1, result.top5) == (top1 / 200, top5 / 200)
    assert np.array_equal(result.confusion, confusion)
    assert result.class_accuracy == pytest.approx([confusion[k, k] / confusion[k].sum() for k in range(8)])
    assert result.class_precision == pytest.approx([confusion[k, k] / confusion[:, k].sum() for k in range(8)])
    assert result.calibration.mean_confidence == pytest.approx(np.mean([c for members in bins for c, _ in members]))


def test_batches_do_not_matter() -> None:
    logits, labels = sample()
    one, many = evaluate(logits, labels, 200), evaluate(logits, labels, 7)
    assert np.array_equal(one.confusion, many.confusion)
    assert (one.top1, one.top5) == (many.top1, many.top5)
    assert one.loss == pytest.approx(many.loss, rel=1e-12)
    assert one.calibration.error == pytest.approx(many.calibration.error, rel=1e-9)


def test_equal_logits_rank_in_order_as_in_predictions() -> None:
    logits = np.zeros((6, 6), np.float32)
    result = evaluate(logits, np.arange(6))
    assert (result.top1, result.top5) == (1 / 6, 5 / 6)
    assert result.confusion[:, 0].tolist() == [1] * 6


def test_large_logits_do_not_overflow() -> None:
    result = evaluate(np.array([[1e30, 0, -1e30], [0, 1e30, 0]], np.float32), np.array([0, 1]))
    assert (result.top1, result.loss, result.calibration.error) == (1.0, 0.0, 0.0)
    assert result.top5 is None


def test_nan_is_never_right() -> None:
    metrics = Metrics(6)
    metrics.update(np.full((6, 6), np.nan, np.float32), np.arange(6))
    assert (metrics.top1, metrics.top5) == (0.0, 0.0)
    assert math.isnan(metrics.loss)


def test_wrong_input() -> None:
    metrics = Metrics(3)
    with pytest.raises(ValueError, match=r"expected logits \(2, 3\)"):
        metrics.update(np.zeros((2, 4)), np.array([0, 1]))
    with pytest.raises(ValueError, match="label 3 of image 1 is not one of the 3 classes"):
        metrics.update(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(ValueError, match="labels must be integers"):
        metrics.update(np.zeros((2, 3)), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="no images"):
        metrics.evaluation(["a", "b", "c"])


# Reports


def test_mistakes_in_order() -> None:
    confusion = np.array([[5, 3, 0], [1, 5, 4], [0, 0, 5]])
    logits = np.eye(3)[np.concatenate([np.repeat(np.arange(3), row) for row in confusion])]
    result = evaluate(logits, np.repeat(np.arange(3), confusion.sum(1)))
    assert np.array_equal(result.confusion, confusion)
    assert result.most_confused() == [("class 1", "class 2", 4), ("class 0", "class 1", 3), ("class 1", "class 0", 1)]
    assert "class 1 for class 2 (4), class 0 for class 1 (3)" in format_evaluation(result)


def test_text_for_many_classes_shows_the_worst() -> None:
    logits, labels = sample(3000, 50)
    result = evaluate(logits, labels)
    lines = str(result).splitlines()
    table = lines[lines.index(next(line for line in lines if line.startswith("worst 20"))) + 1 :][:20]
    shares = [float(line.split()[-2]) for line in table]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(100 * result.class_accuracy.min(), abs=0.01)
    few = evaluate(logits[labels < 3], labels[labels < 3])
    assert "3 of 50 classes" in str(few)


def test_files(tmp_path: Path) -> None:
    logits, labels = sample(100, 4)
    labels[labels == 2] = 1
    result = evaluate(logits, labels)
    written = save_evaluation(result, tmp_path / "report")
    assert {path.name for path in written} == {path.name for path in (tmp_path / "report").iterdir()}
    document = json.loads((tmp_path / "report/evaluation.json").read_text())
    assert document == result.to_dict()
    assert document["classes"][2]["accuracy"] is None  # no such images
    with open(tmp_path / "report/confusion.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["class", "class 0", "class 1", "class 2", "class 3"]
    assert [[int(cell) for cell in row[1:]] for row in rows] == result.confusion.tolist()
    with open(tmp_path / "report/classes.csv", newline="") as file:
        classes = list(csv.DictReader(file))
    assert float(classes[0]["accuracy"]) == pytest.approx(result.class_accuracy[0], abs=1e-6)
    assert classes[2]["accuracy"] == ""
    for name in ("confusion.png", "calibration.png"):
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")


# Models and data


def test_a_model_on_data() -> None:
    model, data = toy.model(), toy.dataset(50)
    model.processor = model.processor.replace(size=8, crop_size=8)
    result = npresnet.evaluate(model, data, batch_size=16)
    logits = model(model.processor([data.image(i) for i in range(50)])).logits
    assert result.top1 == (logits.argmax(1) == data.labels).mean()
    assert result.images == 50
    assert result.labels == tuple(f"LABEL_{n}" for n in range(4))
    assert not model.training


def test_classes_are_matched_by_name() -> None:
    model = toy.model(num_labels=None, id2label={0: "Golden Retriever", 1: "cat", 2: "cow", 3: "dog"})
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    some = ArrayDataset(pixels, [0, 1], ["dog", "golden_retriever"], "pets")
    assert match_classes(some, model).tolist() == [3, 0]
    assert match_classes(ArrayDataset(pixels, [0, 1]), model).tolist() == [0, 1]  # numbers only
    assert match_classes(some, toy.model()).tolist() == [0, 1]  # the model's classes have no names
    with pytest.raises(
        ValueError, match=r"pets: the class 'horse' is not one of the model's 4 \(Golden Retriever, cat"
    ):
        match_classes(ArrayDataset(pixels, [0, 1], ["dog", "horse"], "pets"), model)
    codes = ArrayDataset(pixels, [0, 1], ["n01", "n02", "n03", "n04"], "pets")
    with pytest.warns(UserWarning, match=r"the names of its classes \(n01, n02, n03, ...\) are not the model's"):
        assert match_classes(codes, model).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="5 classes, but the model has 4"):
        match_classes(ArrayDataset(pixels, [0, 4]), model)


def test_a_model_that_gives_nan() -> None:
    model = toy.model()
    model.classifier[1].weight.data[0] = np.nan
    with pytest.raises(ValueError, match="numbers that are not finite"):
        npresnet.evaluate(model, toy.dataset(8))
    with pytest.raises(ValueError, match="classifier of at least 2 classes"):
        npresnet.evaluate(toy.model(num_labels=0), toy.dataset(8))
