"""``npresnet train``: from one line of shell to a directory with a trained model, and back after every interruption."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import toy
from PIL import Image
from tiny import run

import npresnet

RECIPE = """
[model]
architecture = "resnet20"
config = { embedding_size = 4, hidden_sizes = [4, 8], depths = [1, 1] }

[data]
batch_size = 16
image_size = 8
augment = [{ name = "random_crop", padding = 1 }]

[optimizer]
lr = 0.1

[run]
epochs = 2
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPRESNET_DEBUG", raising=False)
    Path("mine.toml").write_text(RECIPE)


@pytest.fixture
def data() -> str:
    """An archive with a training and a test split."""
    train, test = toy.dataset(96), toy.dataset(40, seed=9)
    arrays = {"images_train": train.images(np.arange(96)), "labels_train": train.labels}
    arrays |= {"images_test": test.images(np.arange(40)), "labels_test": test.labels}
    np.savez("toy.npz", **arrays, class_names=np.array(toy.CLASSES))
    return "toy.npz"


@pytest.fixture
def photos() -> Path:
    """Ten pictures of each of two classes."""
    rng = np.random.default_rng(0)
    for name, level in (("cat", 60), ("dog", 190)):
        folder = Path("photos", name)
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(level - 40, level + 40, (40 + number, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return Path("photos")


def test_a_training_from_beginning_to_end(capsys: pytest.CaptureFixture[str], data: str) -> None:
    status, out, err = run(capsys, "train", "mine.toml", "--data", data, "-o", "runs/first", "--epochs", 6)
    assert status == 0
    lines = err.splitlines()
    assert lines[0].startswith("1,352 parameters, 88 images, 5 batches an epoch, 6 epochs")  # 8 are held out
    assert [line.split("  ")[0] for line in lines[1:]] == [f"epoch {n}/6" for n in range(1, 7)]
    found = re.match(
        r"best epoch \d: (.*) % of the validation .*\ntest: (.*) % of 40 images right\nweights: (.*)\n", out
    )
    assert found
    assert found[3] == "runs/first/best.npz"
    model = npresnet.load(found[3])
    assert model.config.id2label == dict(enumerate(toy.CLASSES))
    assert model.processor.image_mean == npresnet.ImageProcessor.cifar().image_mean
    accuracy = npresnet.evaluate(model, toy.dataset(40, seed=9)).top1
    assert float(found[2]) == pytest.approx(100 * accuracy)
    assert accuracy > 0.5
    status, out, _ = run(capsys, "train", "runs/first/recipe.toml", "--show")
    assert out == Path("runs/first/recipe.toml").read_text()


def test_the_default_directory(capsys: pytest.CaptureFixture[str], data: str) -> None:
    for expected in ("runs/mine", "runs/mine-2"):
        _, out, err = run(
            capsys, "train", "mine.toml", "--data", data, "--epochs", 1, "--quiet", "--validation", "none"
        )
        assert f"weights: {expected}/best.npz\n" in out
        assert err == ""
    status, _, err = run(capsys, "train", "mine.toml", "--data", data, "-o", "runs/mine")
    assert status == 1
    assert "runs/mine already holds a run" in err
    assert "--resume runs/mine" in err


def test_flags_change_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(
        capsys, "train", "mine.toml", "--show", "--optimizer", "adamw", "--lr", "1e-3", "--batch-size", 8,
        "--validation", 0.25, "--seed", 4, "--set", "betas=[0.8, 0.9]",
        "--set", "regularization.label_smoothing = 0.1", "--weights", "w.npz",
    )  # fmt: skip
    assert status == 0
    Path("shown.toml").write_text(out)
    recipe = npresnet.train.read_recipe("shown.toml")
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.betas) == ("adamw", 1e-3, (0.8, 0.9))
    assert (recipe.data.batch_size, recipe.data.validation, recipe.run.seed) == (8, 0.25, 4)
    assert recipe.regularization.label_smoothing == 0.1
    assert (recipe.model.architecture, recipe.model.weights) == (None, "w.npz")
    assert not Path("runs").exists()


def test_the_list_of_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "train", "--list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["cifar10", "cifar10-paper", "fashion-mnist", "fine-tune"]


# Interruptions


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_and_back(capsys: pytest.CaptureFixture[str], data: str, number: signal.Signals) -> None:
    """A process of its own gets the signal in the middle of an epoch; the other run is never interrupted."""
    argv = ["train", "mine.toml", "--data", data, "--epochs", "300", "--set", "ema_decay=0.9"]
    code = "import sys; from npresnet.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(Path(npresnet.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *argv, "-o", "stopped"], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    while not process.stderr.readline().startswith("epoch   2/300"):
        assert process.poll() is None
    time.sleep(0.01)
    process.send_signal(number)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert "all saved; go on with: npresnet train --resume stopped\n" in err
    state = npresnet.train.state.load_state(Path("stopped"))
    assert 2 <= state.position.epoch < 300
    # To the same bits: stop both at the same place, some steps later.
    trainer, _ = npresnet.train.resume_run("stopped", progress=False)
    whole, _ = npresnet.train.new_run(trainer.recipe, "whole", progress=False)
    for own in (trainer, whole):
        own.recipe = own.recipe.replace(epochs=state.position.epoch + 2)
    trainer._restore = _ignoring_epochs(trainer)  # type: ignore[method-assign]
    trainer.fit(resume=True)
    whole.fit()
    assert Path("stopped/best.npz").read_bytes() == Path("whole/best.npz").read_bytes()


def _ignoring_epochs(trainer: npresnet.Trainer) -> object:
    """Restoring that lets the test end early."""
    restore = trainer._restore

    def ignoring(state: object) -> None:
        state.recipe["run"]["epochs"] = trainer.recipe.run.epochs  # type: ignore[attr-defined]
        state.recipe["schedule"] = trainer.recipe.to_dict()["schedule"]  # type: ignore[attr-defined]
        restore(state)  # type: ignore[arg-type]

    return ignoring


def test_resuming_a_finished_run(capsys: pytest.CaptureFixture[str], data: str) -> None:
    run(capsys, "train", "mine.toml", "--data", data, "-o", "run")
    before = toy.contents(Path("run"))
    for name in ("run", "run/last.npz"):
        status, out, _ = run(capsys, "train", "--resume", name)
        assert status == 0
        assert "best epoch" in out
    assert toy.contents(Path("run")) == before


def test_a_run_stands_for_its_best_weights(capsys: pytest.CaptureFixture[str], data: str, photos: Path) -> None:
    run(capsys, "train", "mine.toml", "--data", data, "-o", "run")
    photo = next(photos.rglob("*.*g"))
    outcome = run(capsys, "predict", photo, "--weights", "run")
    assert outcome[0] == 0
    assert outcome == run(capsys, "predict", photo, "--weights", "run/best.npz")
    status, _, err = run(capsys, "predict", photo, "--weights", "run/last.npz")
    assert status == 1
    assert "run/last.npz: this is the state of a training, to go on from with: npresnet train --resume" in err


def test_data_may_move(capsys: pytest.CaptureFixture[str], data: str) -> None:
    run(capsys, "train", "mine.toml", "--data", data, "-o", "run")
    Path(data).rename("moved.npz")
    status, _, err = run(capsys, "train", "--resume", "run")
    assert status == 1
    assert "'toy.npz'" in err
    assert run(capsys, "train", "--resume", "run", "--data", "moved.npz", "--workers", 1)[0] == 0
    train = toy.dataset(100)
    np.savez("moved.npz", images=train.images(np.arange(100)), labels=train.labels, class_names=np.array(toy.CLASSES))
    status, _, err = run(capsys, "train", "--resume", "run", "--data", "moved.npz")
    assert status == 1
    assert "begun with other train data: found images 92, expected 88" in err


# Fine-tuning


def test_fine_tuning(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    weights = tiny.save("tiny.npz")
    status, out, err = run(
        capsys, "train", "fine-tune", "--data", photos, "--weights", weights, "-o", "runs/pets", "--epochs", 8,
        "--batch-size", 8, "--set", "validation=0.3", "--set", "lr=0.1",
    )  # fmt: skip
    assert status == 0, err
    model = npresnet.load("runs/pets/best.npz")
    assert model.config.id2label == {0: "cat", 1: "dog"}
    assert model.processor == npresnet.load(weights).processor
    before, after = npresnet.load(weights).state_dict(), model.state_dict()
    stem = [name for name in before if name.startswith("resnet.embedder")]
    statistics = [name for name in before if "running" in name]
    assert all(np.array_equal(before[name], after[name]) for name in stem + statistics)
    assert not np.array_equal(before["classifier.1.weight"], after["classifier.1.weight"][:1])
    status, out, _ = run(capsys, "evaluate", "runs/pets")
    assert status == 0
    assert "runs/pets/best.npz on photos: 6 images, 2 classes" in out
    status, out, _ = run(capsys, "predict", photos / "dog/3.jpg", "--weights", "runs/pets/best.npz")
    assert {line.split("%  ")[1] for line in out.splitlines()[1:]} == {"cat (0)", "dog (1)"}


def test_the_classifier_stays_if_the_classes_do(photos: Path) -> None:
    weights = tiny.save("tiny.npz")
    model = npresnet.load(weights)
    model.reset_classifier(2, id2label={0: "cat", 1: "dog"})
    model.save("pets.npz")
    recipe = npresnet.train.read_recipe("fine-tune").replace(weights="pets.npz", path=str(photos))
    trainer, _ = npresnet.train.new_run(recipe)
    for name, array in model.state_dict().items():
        assert np.array_equal(trainer.model.state_dict()[name], array)


def test_published_weights_by_name(monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    fetched: list[object] = []

    def fetch(name: str, output: Path) -> Path:
        fetched.append(name)
        Path(tiny.save("tiny.npz")).rename(output)
        return output

    monkeypatch.setattr("npresnet.fetching.fetch", fetch)
    recipe = npresnet.train.read_recipe("fine-tune").replace(weights="resnet18", path=str(photos))
    for _ in range(2):
        npresnet.train.new_run(recipe)
    assert fetched == ["resnet18"]  # the second time the file is there


# Bad input: a clear line, and nothing is written


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["cifra10"], "there is no recipe 'cifra10'; did you mean 'cifar10'?"),
        (["mine.toml"], "no data: give data.path in the recipe, or --data"),
        (["mine.toml", "--data", "gone/"], "no such file or folder: 'gone'"),
        (["mine.toml", "--data", "toy.npz", "--set", "epoch=3"], "unknown key 'epoch'; did you mean 'epochs'"),
        (["mine.toml", "--data", "toy.npz", "--lr", "-1"], "optimizer.lr must be greater than 0, found -1"),
        (["mine.toml", "--data", "toy.npz", "--optimizer", "adamw"], "meant for sgd; give one for adamw as well"),
        (["mine.toml", "--data", "toy.npz", "--optimizer", "adam"], "must be one of 'sgd', 'adamw', 'lamb'"),
        (["mine.toml", "--data", "toy.npz", "--model", "resnet21"], "unknown architecture 'resnet21'"),
        (["mine.toml", "--data", "toy.npz", "--weights", "gone.npz"], "gone.npz"),
        (["mine.toml", "--data", "toy.npz", "--validation", "val"], "toy.npz has no split 'val'; it has test, train"),
        (["mine.toml", "--data", "toy.npz", "--set", "warmup_epochs=5"], "does not fit into 2 epochs"),
        (["fine-tune", "--data", "toy.npz"], "needs model.architecture or model.weights, found neither"),
        (["mine.toml", "--data", "toy.npz", "--set", "augment=[{ name = 'flop' }]"], "did you mean 'flip'?"),
        (["mine.toml", "--data", "toy.npz", "--set", "freeze=['resnet.embeder*']"], "no parameter matches"),
        (["--resume", "runs/gone"], "there is no run at runs/gone"),
        (["--resume", "mine.toml"], "mine.toml"),
    ],
)  # fmt: skip
def test_bad_input(capsys: pytest.CaptureFixture[str], data: str, argv: list[str], message: str) -> None:
    status, out, err = run(capsys, "train", *argv)
    assert (status, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give a RECIPE, such as cifar10 (--list shows all), or a run to go on with: --resume DIR"),
        (["mine.toml", "--set", "epochs"], "--set wants KEY=VALUE"),
        (["mine.toml", "--epochs", "0"], "must be an integer of at least 1"),
        (["mine.toml", "--resume", "run"], "in its directory; leave out recipe"),
        (["--resume", "run", "--lr", "1", "-o", "x"], "leave out lr, output"),
    ],
)  # fmt: skip
def test_wrong_usage(capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    status, _, err = run(capsys, "train", *argv)
    assert status == 2
    assert message in err


def test_an_empty_class_folder(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    (photos / "bird").mkdir()
    status, _, err = run(capsys, "train", "mine.toml", "--data", photos)
    assert status == 1
    assert "the class 'bird' has no images" in err
    assert not Path("runs").exists()


def test_images_that_do_not_decode(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    """Found before the first step: one is no image at all, one is cut short."""
    (photos / "cat/3.jpg").write_text("no image")
    content = (photos / "dog/7.jpg").read_bytes()
    (photos / "dog/7.jpg").write_bytes(content[: len(content) // 2])
    argv = ("train", "mine.toml", "--data", photos, "--validation", "none", "--set", "augment=[]")
    status, _, err = run(capsys, *argv)
    assert status == 1
    assert "2 of 20 images of photos cannot be read; repair or remove them" in err
    assert "photos/cat/3.jpg" in err
    assert "photos/dog/7.jpg" in err
    assert not Path("runs").exists()
    status, _, err = run(
        capsys, *argv, "--set", "check=false"
    )  # then it is found on the way, and what is done is saved
    assert status == 1
    assert "cannot be read" not in err
    assert ".jpg" in err
    assert Path("runs/mine/last.npz").exists()
    for name in ("cat/3.jpg", "dog/7.jpg"):
        (photos / name).write_bytes((photos / "cat/1.jpg").read_bytes())
    assert run(capsys, "train", "--resume", "runs/mine")[0] == 0


def test_a_run_of_another_architecture(capsys: pytest.CaptureFixture[str], data: str) -> None:
    """last.npz was copied from another run."""
    run(capsys, "train", "mine.toml", "--data", data, "-o", "run", "--epochs", 1)
    run(capsys, "train", "mine.toml", "--data", data, "-o", "other", "--epochs", 1, "--set",
        "config={ embedding_size = 8, hidden_sizes = [8, 8], depths = [1, 1] }")  # fmt: skip
    Path("run/last.npz").write_bytes(Path("other/last.npz").read_bytes())
    before = toy.contents(Path("run"))
    status, _, err = run(capsys, "train", "--resume", "run")
    assert status == 1
    assert "run/recipe.toml does not describe the training in run/last.npz" in err
    assert "model.config" in err
    assert toy.contents(Path("run")) == before
