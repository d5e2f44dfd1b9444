"""A training that is stopped, in whatever way, and goes on, gives the bits of one that never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

import npresnet
from npresnet.checkpoint import CheckpointError
from npresnet.train import rundir
from npresnet.train.interrupt import Interrupts, TrainingInterrupted
from npresnet.train.state import TrainingState, load_state
from npresnet.train.trainer import Trainer

EVERYTHING: dict[str, Any] = {
    "epochs": 3, "lr": 0.05, "image_size": toy.SIZE, "progress": False, "dropout": 0.2, "drop_path_rate": 0.2,
    "mixup_alpha": 0.4, "cutmix_alpha": 0.4, "label_smoothing": 0.1, "clip_norm": 1.0, "ema_decay": 0.9, "patience": 9,
    "weight_decay": 0.01, "warmup_epochs": 0.5,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adamw": {"optimizer": "adamw", "lr": 1e-3, "accumulate": 2},
    "lamb": {"optimizer": "lamb", "schedule": "one_cycle", "unfreeze_every": 1, "layer_decay": 0.5},
}


def trainer(folder: Path, before: int | None = None, number: int = signal.SIGINT, **changes: Any) -> Trainer:
    """A training of 3 epochs of 6 batches, which gets a signal before a batch."""
    options = {**EVERYTHING, **changes}
    return Trainer(toy.model(), toy.killing(before, number), toy.dataset(32, 9), output_dir=folder, **options)


def assert_same_run(a: Path, b: Path) -> None:
    """Two directories hold the same training; only times may differ."""
    files = toy.contents(a), toy.contents(b)
    assert files[0].keys() == files[1].keys()
    assert files[0]["best.npz"] == files[1]["best.npz"]
    assert files[0]["recipe.toml"] == files[1]["recipe.toml"]
    assert_same_state(load_state(a), load_state(b))
    logs = [[line.split(",")[:-2] for line in file["log.csv"].decode().splitlines()] for file in files]
    assert logs[0] == logs[1]


def assert_same_state(a: TrainingState, b: TrainingState) -> None:
    assert a.arrays["optimizer"]
    for group in a.arrays:
        assert a.arrays[group].keys() == b.arrays[group].keys()
        for name, array in a.arrays[group].items():
            np.testing.assert_array_equal(array, b.arrays[group][name], err_msg=f"{group} {name}")
    for state in (a, b):
        state.position.seconds = state.position.training_seconds = 0.0
        for record in state.history["records"]:
            record["seconds"] = record["images_per_second"] = 0.0
    assert (a.position, a.history, a.data, a.recipe) == (b.position, b.history, b.data, b.recipe)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directories of trainings that were never stopped, by kind."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind) / "run"
            assert trainer(made[kind], **KINDS[kind]).fit().outcome == "complete"
        return made[kind]

    return make


@pytest.mark.parametrize("before", [1, 6, 8, 17])
@pytest.mark.parametrize("kind", list(KINDS))
def test_after_ctrl_c(tmp_path: Path, whole: Callable[[str], Path], kind: str, before: int) -> None:
    """In the first epoch, at the end of an epoch, in the middle of the second, in the last step."""
    first = trainer(tmp_path / "run", before, **KINDS[kind])
    with pytest.raises(TrainingInterrupted, match="all saved; go on with: npresnet train --resume") as stop:
        first.fit()
    assert stop.value.signal == signal.SIGINT
    saved = load_state(tmp_path / "run").position
    assert saved.epoch * 6 + saved.batch in (before + 1, before + 2)  # the step is finished, of one batch or two
    history = trainer(tmp_path / "run", **KINDS[kind]).fit(resume=True)
    assert history.outcome == "complete"
    assert_same_run(tmp_path / "run", whole(kind))


def test_after_many_stops(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    for stops, before in enumerate((2, 3, 9, 13, 14)):
        with pytest.raises(TrainingInterrupted):
            trainer(tmp_path / "run", before, signal.SIGTERM, **KINDS["sgd"]).fit(resume=stops > 0)
    trainer(tmp_path / "run", **KINDS["sgd"]).fit(resume=True)
    assert_same_run(tmp_path / "run", whole("sgd"))


def test_checkpointed_activations_change_no_bit(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    """A run may even begin without them and go on with them."""
    trainer(tmp_path / "other", checkpoint_activations=True, **KINDS["sgd"]).fit()
    ours, theirs = load_state(tmp_path / "other"), load_state(whole("sgd"))
    for group in theirs.arrays:
        for name, array in theirs.arrays[group].items():
            np.testing.assert_array_equal(ours.arrays[group][name], array, err_msg=f"{group} {name}")


def test_in_the_same_process(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    """As in a notebook: fit, stop, fit again."""
    own = trainer(tmp_path / "run", 8, **KINDS["sgd"])
    with pytest.raises(TrainingInterrupted):
        own.fit()
    own._train.before = None
    own.fit()
    assert_same_run(tmp_path / "run", whole("sgd"))
    with pytest.raises(TrainingInterrupted, match=r"call fit\(\) again"):
        Trainer(toy.model(), toy.killing(2), None, progress=False, epochs=1).fit()


def test_during_validation(tmp_path: Path, whole: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(tmp_path / "run", **KINDS["sgd"])
    infer, calls = own._inference, 0

    def interrupted(pixel_values: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return infer(pixel_values)

    own._inference = interrupted
    with pytest.raises(TrainingInterrupted):
        own.fit()
    assert load_state(tmp_path / "run").position.batch == 6
    trainer(tmp_path / "run", **KINDS["sgd"]).fit(resume=True)
    assert_same_run(tmp_path / "run", whole("sgd"))


def test_after_sigkill(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    """The process dies on the spot, and leaves half of a file behind."""
    code = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_trainer_resume import KINDS, trainer
        import signal
        trainer(Path({str(tmp_path / "run")!r}), 9, signal.SIGKILL, save_minutes=0, **KINDS["sgd"]).fit()
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(npresnet.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert load_state(tmp_path / "run").position.batch == 3  # of the second epoch
    (tmp_path / "run/.last.npz.0123456789ab.tmp").write_bytes(b"half of it")
    trainer(tmp_path / "run", **KINDS["sgd"]).fit(resume=True)  # other times of saving change nothing
    own = load_state(tmp_path / "run")
    assert own.recipe["run"].pop("save_minutes") == 10
    (tmp_path / "run/recipe.toml").write_bytes((whole("sgd") / "recipe.toml").read_bytes())
    assert_same_run(tmp_path / "run", whole("sgd"))


def test_a_finished_run_stays_finished(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    folder = whole("sgd")
    before = toy.contents(folder)
    own = trainer(folder, **KINDS["sgd"])
    history = own.fit(resume=True)
    assert (history.outcome, len(history)) == ("complete", 3)
    assert toy.contents(folder) == before
    best = npresnet.load(folder / "best.npz").state_dict()
    assert all(np.array_equal(array, best[name]) for name, array in own.model.state_dict().items())


# What must not be lost


def test_a_run_is_not_written_over(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    before = toy.contents(whole("sgd"))
    with pytest.raises(FileExistsError, match=r"already holds a run .* go on with it \(--resume"):
        trainer(whole("sgd"), **KINDS["sgd"]).fit()
    assert toy.contents(whole("sgd")) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        trainer(tmp_path / "file").fit()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: trainer(folder, **KINDS["adamw"]), "optimizer.name: 'sgd' in the run, 'adamw' now"),
        (lambda folder: trainer(folder, **{**KINDS["sgd"], "lr": 0.1}), "optimizer.lr: 0.05 in the run, 0.1 now"),
        (lambda folder: Trainer(toy.model(embedding_size=6), toy.killing(None), toy.dataset(32, 9), output_dir=folder,
                                **{**EVERYTHING, **KINDS["sgd"]}),
         "another architecture.*\n.*expected shape"),
        (lambda folder: Trainer(toy.model(), toy.killing(None, count=80), toy.dataset(32, 9), output_dir=folder,
                                **{**EVERYTHING, **KINDS["sgd"]}),
         "other train data: found images 80, expected 96"),
        (lambda folder: Trainer(toy.model(), toy.killing(None), toy.dataset(64, 9), output_dir=folder,
                                **{**EVERYTHING, **KINDS["sgd"]}),
         "other validation data: found images 64, expected 32"),
    ],
)  # fmt: skip
def test_another_run_is_refused(
    tmp_path: Path, whole: Callable[[str], Path], make: Callable[[Path], Trainer], message: str
) -> None:
    before = toy.contents(whole("sgd"))
    own = make(whole("sgd"))
    weights = own.model.state_dict()
    with pytest.raises(ValueError, match=message):
        own.fit(resume=True)
    assert toy.contents(whole("sgd")) == before
    assert all(np.array_equal(array, weights[name]) for name, array in own.model.state_dict().items())


def test_files_that_are_no_run(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    with pytest.raises(FileNotFoundError, match="there is no run at"):
        trainer(tmp_path / "gone").fit(resume=True)
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no last\.npz"):
        trainer(run, **KINDS["sgd"]).fit(resume=True)
    (run / "last.npz").write_bytes((whole("sgd") / "best.npz").read_bytes())
    with pytest.raises(CheckpointError, match="a model but not the state of a training"):
        trainer(run, **KINDS["sgd"]).fit(resume=True)
    (run / "last.npz").write_bytes((whole("sgd") / "last.npz").read_bytes()[:-500])
    with pytest.raises(CheckpointError, match=r"last\.npz"):
        trainer(run, **KINDS["sgd"]).fit(resume=True)
    content = (whole("sgd") / "last.npz").read_bytes()
    (run / "last.npz").write_bytes(content.replace(b'"position": {', b'"position": ['))
    with pytest.raises(CheckpointError, match="checksum"):
        trainer(run, **KINDS["sgd"]).fit(resume=True)
    with pytest.raises(ValueError, match="needs the output_dir"):
        Trainer(toy.model(), toy.killing(None), None, progress=False).fit(resume=True)


def test_a_full_disk_is_seen_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = rundir.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(rundir.shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    own = trainer(tmp_path / "run")
    with pytest.raises(OSError, match=r"too little room on the disk: the run needs 8 MB.*0 MB are free"):
        own.fit()
    assert list((tmp_path / "run").iterdir()) == []
    assert own._position.step == 0


def test_a_disk_that_fills_up(
    tmp_path: Path, whole: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saving fails twice in the middle: training goes on, and in the end everything is there."""
    write, calls = rundir.save_npz, 0

    def full(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls in (1, 2):
            raise OSError(28, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(rundir, "save_npz", full)
    own = trainer(tmp_path / "run", **{**KINDS["sgd"], "progress": True})
    own.fit()
    assert calls >= 3
    assert capsys.readouterr().err.count("cannot save: [Errno 28] No space left on device; training goes on") == 1
    assert_same_run(tmp_path / "run", whole("sgd"))


def test_a_disk_that_stays_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(tmp_path / "run", **KINDS["sgd"])

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rundir, "save_npz", full)
    with pytest.raises(OSError, match="No space left"):
        own.fit()
    assert len(own.history) == 3  # and the model is there
    assert load_state(tmp_path / "run").position.step == 0


def test_an_image_that_cannot_be_read_in_the_middle(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    own = trainer(tmp_path / "run", **KINDS["sgd"])
    image, broken = own._train.dataset.images, True

    def images(indices: Any) -> Any:
        if broken and own._position.step == 8:
            raise OSError("the disk is gone")
        return image(indices)

    own._train.dataset.images = images
    with pytest.raises(OSError, match="the disk is gone"):
        own.fit()
    assert load_state(tmp_path / "run").position.step == 8
    broken = False
    trainer(tmp_path / "run", **KINDS["sgd"]).fit(resume=True)
    assert_same_run(tmp_path / "run", whole("sgd"))


def test_another_version_is_mentioned(tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted):
        trainer(tmp_path / "run", 2).fit()
    own = trainer(tmp_path / "run")
    with npresnet.use_backend("numpy"), pytest.warns(UserWarning, match="began with backend numba, this is numpy"):
        own.fit(resume=True)


# Signals


def test_the_second_signal_stops_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received == signal.SIGINT
        assert "stopping after this step; once more stops at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_that_are_ignored_stay_ignored() -> None:
    """``nohup npresnet train`` survives the end of the session."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupts.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_step_that_is_cut_short_leaves_the_model_as_it_was() -> None:
    """The second Ctrl-C may come in the middle of a backward pass."""
    own = Trainer(toy.model(), toy.killing(None), None, progress=False, epochs=1, accumulate=2)
    weights = own.model.state_dict()

    class Cut:
        def forward(self, pixel_values: Any) -> Any:
            return own.model.train()(pixel_values).logits

        def backward(self, dlogits: Any) -> None:
            own.model.backward(dlogits)
            raise KeyboardInterrupt

    own._descent._step = Cut()
    with pytest.raises(KeyboardInterrupt):
        own.fit()
    assert all(np.array_equal(array, weights[name]) for name, array in own.model.state_dict().items())
    assert all(parameter.grad is None for parameter in own.model.parameters())
