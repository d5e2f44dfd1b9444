"""``npresnet evaluate``: a table for people, JSON for programs, files for reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image
from tiny import run

import npresnet


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPRESNET_DEBUG", raising=False)


@pytest.fixture
def weights() -> str:
    model = toy.model(num_labels=None, id2label=dict(enumerate(toy.CLASSES)))
    model.processor = npresnet.ImageProcessor.cifar(toy.SIZE)
    model.save("toy-weights.npz")
    return "toy-weights.npz"


@pytest.fixture
def data() -> str:
    parts = {"train": toy.dataset(48), "test": toy.dataset(40, seed=9)}
    arrays = {f"images_{name}": part.images(np.arange(len(part))) for name, part in parts.items()}
    arrays |= {f"labels_{name}": part.labels for name, part in parts.items()}
    np.savez("toy.npz", **arrays, class_names=np.array(toy.CLASSES))
    return "toy.npz"


def folder(count: int = 12) -> Path:
    """The toy images as files, of three of the classes only."""
    part = toy.dataset(4 * count, seed=4)
    for index in range(len(part)):
        if (name := toy.CLASSES[part.labels[index]]) != "south":
            Path("photos", name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.image(index)).save(f"photos/{name}/{index}.png")
    return Path("photos")


def test_a_checkpoint_and_data(capsys: pytest.CaptureFixture[str], weights: str, data: str) -> None:
    status, out, err = run(capsys, "evaluate", weights, "--data", data)
    assert (status, err) == (0, "")
    expected = npresnet.evaluate(weights, toy.dataset(40, seed=9))
    assert out.startswith("toy-weights.npz on toy.npz (test): 40 images, 4 classes\n")
    assert f"top-1             {100 * expected.top1:8.2f} %\n" in out
    status, out, _ = run(capsys, "evaluate", weights, "--data", data, "--split", "train", "--json")
    document = json.loads(out)
    assert document["images"] == 48
    assert document["top1"] == npresnet.evaluate(weights, toy.dataset(48)).top1


def test_files_for_a_report(capsys: pytest.CaptureFixture[str], weights: str, data: str) -> None:
    status, out, err = run(capsys, "evaluate", weights, "--data", data, "-o", "report", "--json")
    assert status == 0
    assert json.loads(out) == json.loads(Path("report/evaluation.json").read_text())
    assert {path.name for path in Path("report").iterdir()} == {
        "evaluation.json", "classes.csv", "confusion.csv", "confusion.png", "calibration.png",
    }  # fmt: skip
    assert "report/confusion.csv" in err
    Path("file").touch()
    status, _, err = run(capsys, "evaluate", weights, "--data", data, "-o", "file")
    assert status == 1
    assert "file" in err


def test_a_folder_with_some_of_the_classes(capsys: pytest.CaptureFixture[str], weights: str) -> None:
    status, out, _ = run(capsys, "evaluate", weights, "--data", folder())
    assert status == 0
    assert "on photos: 36 images, 3 of 4 classes" in out
    document = json.loads(run(capsys, "evaluate", weights, "--data", "photos", "--json")[1])
    right, total = 0, 0
    model = npresnet.load(weights)
    for file in sorted(Path("photos").rglob("*.png")):
        right += model.predict(file, top_k=1)[0].label == file.parent.name
        total += 1
    assert document["top1"] == right / total
    assert [row["images"] for row in document["classes"]] == [12, 12, 0, 12]


def test_a_run_knows_its_own_images(capsys: pytest.CaptureFixture[str], data: str) -> None:
    recipe = npresnet.train.Recipe().replace(
        path=data, architecture="resnet20", image_size=8, epochs=1, batch_size=16, lr=0.05,
        config={"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1]},
    )  # fmt: skip
    npresnet.train.new_run(recipe, "run", progress=False)[0].fit()
    for name in ("run", "run/best.npz"):
        assert "on toy.npz (test): 40 images" in run(capsys, "evaluate", name)[1]
    photos = str(folder())
    trainer, _ = npresnet.train.new_run(recipe.replace(path=photos, validation=0.25), "held", progress=False)
    history = trainer.fit()
    _, out, _ = run(capsys, "evaluate", "held", "--json")
    document = json.loads(out)
    assert document["images"] == 9
    assert document["top1"] == history.best_value  # the very images that were held out
    status, _, err = run(capsys, "evaluate", "held", "--data", photos)
    assert status == 1
    assert (
        "was trained on photos; leave out --data to evaluate on the images that were held out, or say --split all"
        in err
    )
    assert json.loads(run(capsys, "evaluate", "held", "--data", photos, "--split", "all", "--json")[1])["images"] == 36


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["toy-weights.npz"], "no images to evaluate toy-weights.npz on: give --data PATH"),
        (["gone.npz", "--data", "toy.npz"], "gone.npz"),
        (["toy-weights.npz", "--data", "gone"], "no such file or folder: 'gone'"),
        (["toy-weights.npz", "--data", "toy.npz", "--split", "val"], "has no split 'val'; it has test, train"),
        (["toy.npz", "--data", "toy.npz"], "toy.npz"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], weights: str, data: str, argv: list[str], message: str) -> None:
    status, out, err = run(capsys, "evaluate", *argv, "-o", "report")
    assert (status, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("report").exists()


def test_classes_that_the_model_does_not_know(capsys: pytest.CaptureFixture[str], weights: str) -> None:
    photos = folder()
    (photos / "north").rename(photos / "up")
    status, _, err = run(capsys, "evaluate", weights, "--data", photos)
    assert status == 1
    assert "photos: the class 'up' is not one of the model's 4 (north, east, south, ...)" in err


def test_a_run_whose_first_epoch_is_not_over(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/last.npz").touch()
    status, _, err = run(capsys, "evaluate", "run")
    assert status == 1
    assert "run holds no best.npz yet: its first epoch is not over" in err
