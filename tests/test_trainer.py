"""The training loop: against loops written out by hand, and what it does with models, data and recipes."""

from __future__ import annotations

import csv
import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

import npresnet
from npresnet import ops
from npresnet.nn import BatchNorm2d
from npresnet.train.data import ArrayDataset, Loader
from npresnet.train.inference import make_inference
from npresnet.train.mixing import mix
from npresnet.train.step import mixing_generator
from npresnet.train.trainer import Trainer

QUIET: dict[str, Any] = {"progress": False}
SMALL: dict[str, Any] = {"image_size": toy.SIZE, "batch_size": 16, "epochs": 2, "lr": 0.05, "workers": 0}


def loader(count: int = 96, batch_size: int = 16, **options: Any) -> Loader:
    normal: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "shuffle": True, "seed": 3, "workers": 0}
    return Loader(toy.dataset(count), batch_size, size=toy.SIZE, **{**normal, **options})


def arrays(model: npresnet.ResNetForImageClassification) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.state_dict().items()}


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# The oracle: the same training in a dozen lines


def by_hand(model: Any, batches: Loader, epochs: int, lr: float, momentum: float, decay: float) -> list[float]:
    """Nesterov's momentum with a cosine, in float64; returns the mean loss of every epoch."""
    velocity = {name: 0.0 for name, _ in model.named_parameters()}
    losses, step, total = [], 0, epochs * len(batches)
    for epoch in range(epochs):
        losses.append([])
        for batch in batches.epoch(epoch):
            model.train()
            model.zero_grad()
            output = model(batch.pixel_values.astype(model.dtype), labels=batch.labels, label_smoothing=0.1)
            model.backward()
            rate = lr * (1 + math.cos(math.pi * step / total)) / 2
            for name, p in model.named_parameters():
                g = p.grad + (decay * p.data if p.data.ndim > 1 else 0)
                velocity[name] = momentum * velocity[name] + g
                p.data = p.data - rate * (g + momentum * velocity[name])
            losses[-1].append(output.loss)
            step += 1
    return [float(np.mean(loss)) for loss in losses]


def test_a_training_is_the_loop_of_the_textbook() -> None:
    expected = toy.model().astype(np.float64)
    losses = by_hand(expected, loader(), epochs=2, lr=0.05, momentum=0.9, decay=1e-2)
    model = toy.model().astype(np.float64)
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2, "label_smoothing": 0.1}
    history = Trainer(model, loader(), None, **QUIET, epochs=2, lr=0.05, **options).fit()
    for name, array in expected.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
    assert [record.train_loss for record in history] == pytest.approx(losses, rel=1e-10)
    assert [record.step for record in history] == [6, 12]
    assert history.outcome == "complete"
    assert not model.training


def test_batches_that_are_accumulated_are_one_large_batch() -> None:
    """With BatchNorms that keep their statistics; 88 images are batches of 16, 16, 16, 16, 16 and 8."""
    results = []
    for batch_size, accumulate in ((88, 1), (16, 6)):
        model = toy.model().astype(np.float64)
        data = loader(88, batch_size)
        options = {"accumulate": accumulate, "hold_statistics": "all", "schedule": "constant"}
        history = Trainer(model, data, None, **QUIET, epochs=3, lr=0.1, **options).fit()
        results.append((model.state_dict(), [r.train_loss for r in history], [r.step for r in history]))
    (one, losses, steps), (many, other_losses, other_steps) = results
    assert steps == other_steps == [1, 2, 3]
    assert losses == pytest.approx(other_losses, rel=1e-10)
    for name in one:
        np.testing.assert_allclose(one[name], many[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_an_epoch_ends_with_what_is_left_to_accumulate() -> None:
    history = Trainer(toy.model(), loader(), None, **QUIET, epochs=2, lr=0.01, accumulate=4).fit()
    assert [record.step for record in history] == [2, 4]  # four batches and two


def test_gradients_are_clipped() -> None:
    """With a norm that is tiny, a step of plain descent is as long as that norm."""
    model = toy.model().astype(np.float64)
    before = arrays(model)
    options = {"momentum": 0.0, "schedule": "constant", "clip_norm": 1e-3}
    Trainer(model, loader(16), None, **QUIET, epochs=1, lr=1.0, **options).fit()
    moved = [np.sum((p.data - before[name]) ** 2) for name, p in model.named_parameters()]
    assert math.sqrt(sum(moved)) == pytest.approx(1e-3, rel=1e-2)


def test_mixed_images_count_as_right_by_their_larger_part() -> None:
    model = toy.model()
    data = loader(16, shuffle=False)
    batch = next(data.epoch(0))
    pixels, soft = mix(batch.pixel_values, batch.labels, 4, mixing_generator(6, 0), mixup_alpha=1.0)
    assert not np.array_equal(soft.argmax(1), batch.labels)  # the seed mixes with more than half of the other
    twin = toy.model().train()
    logits = twin(pixels).logits
    loss, _ = ops.cross_entropy(logits, soft)
    history = Trainer(model, data, None, **QUIET, epochs=1, lr=0.01, mixup_alpha=1.0, seed=6).fit()
    assert history[0].train_loss == pytest.approx(loss, rel=1e-6)
    assert history[0].train_accuracy == (logits.argmax(1) == soft.argmax(1)).mean()


def test_dropping_is_a_function_of_the_seed() -> None:
    results = []
    for seed in (0, 0, 1):
        model = toy.model(seed=5)  # the model's own seed has no part in it
        Trainer(model, loader(), None, **QUIET, epochs=1, lr=0.05, seed=seed, dropout=0.5, drop_path_rate=0.5).fit()
        results.append(arrays(model))
    assert equal(results[0], results[1])
    assert not equal(results[0], results[2])
    assert (model.config.dropout, model.config.drop_path_rate) == (0.5, 0.5)


# The result


def test_it_learns_and_leaves_the_best_weights(tmp_path: Path) -> None:
    validation = toy.dataset(64, seed=9)
    model = toy.model()
    history = Trainer(model, toy.dataset(256), validation, output_dir=tmp_path / "run", **QUIET,
                      **{**SMALL, "epochs": 5, "lr": 0.1}).fit()  # fmt: skip
    best = max(history, key=lambda record: record.validation_accuracy)
    assert best.validation_accuracy > 0.9
    assert (history.best_epoch, history.best_value) == (best.epoch, best.validation_accuracy)
    assert npresnet.evaluate(model, validation).top1 == best.validation_accuracy
    loaded = npresnet.load(tmp_path / "run/best.npz")
    assert equal(arrays(loaded), arrays(model))
    assert loaded.config.id2label == dict(enumerate(toy.CLASSES))
    assert loaded.processor == model.processor
    right = [loaded.predict(validation.image(i), top_k=1)[0].label == toy.CLASSES[i % 4] for i in range(64)]
    assert np.mean(right) == best.validation_accuracy
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "recipe.toml", "log.csv", "curves.png", "last.npz", "best.npz",
    }  # fmt: skip


def test_the_best_epoch_may_be_an_earlier_one(tmp_path: Path) -> None:
    """A learning rate that becomes absurd ruins what was learned."""
    model = toy.model()
    options = {**SMALL, "epochs": 4, "lr": 0.1, "schedule": "step", "milestones": [3], "gamma": 1e4}
    history = Trainer(
        model, toy.dataset(256), toy.dataset(64, 9), output_dir=tmp_path / "run", **QUIET, **options
    ).fit()
    accuracies = [record.validation_accuracy for record in history]
    assert accuracies[-1] < max(accuracies)
    assert history.best_epoch == accuracies.index(max(accuracies)) + 1
    assert npresnet.evaluate(model, toy.dataset(64, 9)).top1 == max(accuracies)


def test_averaged_weights_are_validated_and_are_the_result() -> None:
    model, kept = toy.model(), toy.model()
    data = loader()
    Trainer(kept, data, None, **QUIET, epochs=1, lr=0.05).fit()
    trainer = Trainer(model, data, toy.dataset(64, 9), **QUIET, epochs=1, lr=0.05, ema_decay=0.9, image_size=toy.SIZE)
    history = trainer.fit()
    assert not equal(arrays(model), arrays(kept))
    average = trainer.average.state_dict()
    assert all(np.array_equal(array, average[f"average.{name}"]) for name, array in arrays(model).items())
    assert history[0].validation_accuracy == npresnet.evaluate(model, toy.dataset(64, 9)).top1


def test_the_log_says_what_the_history_says(tmp_path: Path) -> None:
    history = Trainer(toy.model(), loader(), toy.dataset(64, 9), output_dir=tmp_path / "run", **QUIET, epochs=2,
                      lr=0.05, image_size=toy.SIZE).fit()  # fmt: skip
    with open(tmp_path / "run/log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    for row, record in zip(rows, history, strict=True):
        for name in ("learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            assert float(row[name]) == pytest.approx(getattr(record, name), rel=1e-5), name
    assert rows[0]["validation_top5"] == ""  # four classes


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    Trainer(toy.model(), loader(), None, output_dir=tmp_path / "run", epochs=1, lr=0.05).fit()
    assert "there will be no curves.png: pip install 'npresnet[plots]'" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"recipe.toml", "log.csv", "last.npz", "best.npz"}


@pytest.mark.parametrize("augment", [(), ({"name": "random_resized_crop"}, {"name": "flip"})])
def test_images_of_another_size_while_it_learns(augment: tuple[dict[str, str], ...]) -> None:
    """Training as at that size; validation, and every prediction, at the usual one (Touvron et al. 2019)."""
    usual, other = toy.model(), toy.model()
    one = {**SMALL, "epochs": 1}
    Trainer(usual, toy.dataset(64), None, **QUIET, **one, augment=augment).fit()
    sizes = {**one, "image_size": toy.SIZE + 4, "train_size": toy.SIZE}
    history = Trainer(other, toy.dataset(64), toy.dataset(64, 9), **QUIET, **sizes, augment=augment).fit()
    assert equal(arrays(other), arrays(usual))
    assert other.processor.crop_size == {"height": toy.SIZE + 4, "width": toy.SIZE + 4}
    assert history[0].validation_accuracy == npresnet.evaluate(other, toy.dataset(64, 9)).top1


def test_erased_rectangles_are_filled_with_the_mean() -> None:
    augment = ({"name": "random_erasing", "probability": 1.0, "scale": [0.5, 0.5], "ratio": [1.0, 1.0]},)
    trainer = Trainer(toy.model(), toy.dataset(64), None, **QUIET, **SMALL, augment=augment, mean=(0.4, 0.2, 0.6))
    pixels = next(iter(trainer._train.epoch(0))).pixel_values  # zero where a rectangle is, by rounding to 1 / 255
    share = (np.abs(pixels).max(axis=1) < 0.5 / 255 / min(trainer.model.processor.image_std)).mean()
    assert 0.3 < share < 0.6


def test_early_stopping() -> None:
    model = toy.model()
    history = Trainer(model, loader(), toy.dataset(64, 9), **QUIET, epochs=50, lr=1e-9, patience=3,
                      image_size=8, hold_statistics="all").fit()  # fmt: skip
    assert len(history) == 4  # one that is the best, three that are no better
    assert history.outcome == "stopped early"
    with pytest.raises(ValueError, match=r"run\.patience needs validation data"):
        Trainer(toy.model(), loader(), None, patience=3)


def test_the_loss_can_decide() -> None:
    history = Trainer(toy.model(), loader(), toy.dataset(64, 9), **QUIET, epochs=3, lr=0.05, monitor="loss",
                      image_size=toy.SIZE).fit()  # fmt: skip
    losses = [record.validation_loss for record in history]
    assert (history.best_value, history.best_epoch) == (min(losses), losses.index(min(losses)) + 1)


# Parts that learn, and parts that do not


def test_frozen_parts_stay_as_they_are() -> None:
    model = toy.model()
    for _, module in model.named_modules():
        if isinstance(module, BatchNorm2d):
            module.running_mean = module.running_mean + np.float32(0.1)
    before = arrays(model)
    Trainer(model, loader(), None, **QUIET, epochs=1, lr=0.1, freeze=["resnet.embedder.*"]).fit()
    changed = {name for name, array in arrays(model).items() if not np.array_equal(array, before[name])}
    assert changed == {name for name in before if not name.startswith("resnet.embedder.")}
    model = toy.model()
    Trainer(model, loader(), None, **QUIET, epochs=1, lr=0.1, freeze=["resnet.*"], hold_statistics="none").fit()
    changed = {
        name for name, array in arrays(model).items() if not np.array_equal(array, toy.model().state_dict()[name])
    }
    assert {name for name in changed if not name.startswith("classifier")} == {
        name for name in before if name.endswith(("running_mean", "running_var", "tracked"))
    }


def test_all_statistics_can_be_held() -> None:
    model = toy.model()
    before = arrays(model)
    Trainer(model, loader(), None, **QUIET, epochs=1, lr=0.1, hold_statistics="all").fit()
    changed = {name for name, array in arrays(model).items() if not np.array_equal(array, before[name])}
    assert changed == {name for name, _ in model.named_parameters()}


def test_stages_join_in_one_after_another() -> None:
    model = toy.model()
    seen = []

    class Watched(Loader):
        def epoch(self, number: int, start: int = 0) -> Any:
            seen.append({name.split(".")[-1] if name.startswith("classifier") else ".".join(name.split(".")[1:4])
                         for name, p in model.named_parameters() if p.requires_grad})  # fmt: skip
            return super().epoch(number, start)

    data = Watched(toy.dataset(), 16, size=8, mean=(0.5,) * 3, std=(0.25,) * 3, workers=0)
    before = arrays(model)
    Trainer(model, data, None, **QUIET, epochs=5, lr=0.05, unfreeze_every=1, freeze=["resnet.embedder.*"]).fit()
    head = {"weight", "bias"}
    last, first = {"encoder.stages.1"}, {"encoder.stages.0"}
    assert seen == [head, head | last, *[head | last | first] * 3]
    stem = [name for name in before if name.startswith("resnet.embedder")]
    assert all(np.array_equal(arrays(model)[name], before[name]) for name in stem)


def test_learning_rates_by_layer() -> None:
    model = toy.model().astype(np.float64)
    before = arrays(model)
    options = {"momentum": 0.0, "schedule": "constant", "layer_decay": 0.5}
    twin = toy.model().astype(np.float64)
    Trainer(model, loader(16), None, **QUIET, epochs=1, lr=0.1, **options).fit()
    Trainer(twin, loader(16), None, **QUIET, epochs=1, lr=0.1, **{**options, "layer_decay": None}).fit()
    factors = {"classifier": 1.0, "resnet.encoder.stages.1": 0.5, "resnet.encoder.stages.0": 0.25,
               "resnet.embedder": 0.125}  # fmt: skip
    for name, parameter in model.named_parameters():
        factor = next(factors[part] for part in factors if name.startswith(part))
        step, full = parameter.data - before[name], twin.state_dict()[name] - before[name]
        np.testing.assert_allclose(step, factor * full, rtol=1e-6, atol=1e-14)


# Bad input


def test_labels_that_are_no_classes() -> None:
    data = toy.dataset(16)
    data.labels = data.labels.copy()
    data.labels[5] = 4
    with pytest.raises(ValueError, match=r"the train data \(toy\): label 4 of image 5 is not one of the 4 classes"):
        Trainer(toy.model(), data)
    data.labels[5] = -1
    with pytest.raises(ValueError, match=r"the validation data .*label -1 of image 5"):
        Trainer(toy.model(), toy.dataset(), data)


def test_classes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="4 classes, but the model has 3"):
        Trainer(toy.model(num_labels=3), toy.dataset())
    other = dict(enumerate(reversed(toy.CLASSES)))
    with pytest.raises(ValueError, match="class 0 is 'north', but the model's is 'west'"):
        Trainer(toy.model(num_labels=None, id2label=other), toy.dataset())
    with pytest.raises(ValueError, match="classifier of at least 2 classes"):
        Trainer(toy.model(num_labels=0), toy.dataset())
    with pytest.raises(ValueError, match="multi_label_classification"):
        Trainer(toy.model(problem_type="multi_label_classification"), toy.dataset())
    with pytest.raises(TypeError, match="ResNetForImageClassification"):
        Trainer(npresnet.ResNetModel(toy.model().config), toy.dataset())


def test_nothing_that_can_learn() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Trainer(toy.model(), loader(), None, freeze=["*"])
    with pytest.raises(ValueError, match=r"no parameter matches 'resnet\.embeder\.\*'"):
        Trainer(toy.model(), loader(), None, freeze=["resnet.embeder.*"])


def test_a_schedule_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"does not fit into 2 epochs of 6 steps \(warmup_epochs = 5\)"):
        Trainer(toy.model(), loader(), None, epochs=2, warmup_epochs=5)


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    history = Trainer(toy.model(), toy.dataset(10), None, **QUIET, **{**SMALL, "batch_size": 64}).fit()
    assert [record.step for record in history] == [1, 2]


def test_grey_images_and_other_sizes() -> None:
    rng = np.random.default_rng(0)
    data = ArrayDataset(rng.integers(0, 256, (20, 12, 10), dtype=np.uint8), np.arange(20) % 4, toy.CLASSES)
    model = toy.model(num_channels=1)
    Trainer(model, data, data, **QUIET, **SMALL, mean=[0.3], std=[0.2]).fit()
    assert (model.processor.image_mean, model.processor.image_std) == ((0.3,), (0.2,))
    assert model.processor(data.image(0)).shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"data\.mean must have a value for each of 3 channels"):
        Trainer(toy.model(), toy.dataset(), mean=[0.1, 0.2])


@pytest.mark.parametrize("kind", ["caffe", "timm", "transformers"])
def test_training_sees_what_predictions_see(kind: str) -> None:
    """Without augmentation, the preprocessing of the weights, whatever it is: here BGR from 0 to 255, for one."""
    model = toy.model()
    make = getattr(npresnet.ImageProcessor, kind)
    model.processor = make(20, 16) if kind == "caffe" else make(16)
    data = toy.dataset(8)
    trainer = Trainer(model, data, None, **QUIET, epochs=1, workers=0)
    batch = next(trainer._train.epoch(0))
    expected = model.processor([data.image(int(i)) for i in batch.indices])
    np.testing.assert_allclose(batch.pixel_values, expected, rtol=1e-5, atol=1e-4 if kind == "caffe" else 1e-6)


def test_validation_runs_in_evaluation_mode_and_leaves_no_trace() -> None:
    model = toy.model().train()
    infer = make_inference(model)
    before = arrays(model)
    pixels = next(loader().epoch(0)).pixel_values
    np.testing.assert_allclose(infer(pixels), toy.model().eval()(pixels).logits, rtol=1e-4, atol=1e-5)
    assert equal(arrays(model), before)
    assert model.training
    double = toy.model().astype(np.float64).train()
    np.testing.assert_allclose(make_inference(double)(pixels), infer(pixels), rtol=1e-4, atol=1e-5)
    assert double.training
