"""``npresnet bench --training``: who takes part, what a right step is, and what is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import run

import npresnet
from npresnet.benchmark import BenchmarkError, turns
from npresnet.benchmark.contestants import BASELINE, Contestant
from npresnet.benchmark.process import WorkerError
from npresnet.benchmark.progress import Progress
from npresnet.benchmark.training import check, material, report
from npresnet.benchmark.training.check import judge
from npresnet.benchmark.training.contestants import CHECKPOINTING, list_contestants
from npresnet.benchmark.training.learners import NpresnetLearner, load_learner
from npresnet.benchmark.training.outcome import take_step
from npresnet.benchmark.training.run import Request, run_training_benchmark, usual_batch
from npresnet.config import PRESETS, ResNetConfig
from npresnet.train.step import TrainingStep

TINY = {**tiny.FIELDS, "num_labels": 7}
EAGER = Contestant("torch", "float32", "eager")
ALONE = ("bench", "--training", "--model", "tiny", "--vs", "none", "--threads", 1, "--size", 32)
Arrays = dict[str, Any]


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No long turns; temporary files go into a folder where none may stay."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.delenv("NPRESNET_DEBUG", raising=False)
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setattr(turns, "SECONDS", 0.0)
    monkeypatch.setattr(turns, "PAUSE", 0.0)
    yield
    assert list(temporary.iterdir()) == []


# The whole command, in real processes


def test_one_document_on_stdout_and_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *ALONE, "--batch", "3,4", "--rounds", 2, "--json", "--output", "bench.json")
    assert status == 0, err
    document = json.loads(out)
    assert json.loads(Path("bench.json").read_text()) == document
    assert (document["task"], document["threads"], document["rounds"]) == ("training", 1, 2)
    assert document["optimizer"] == {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
    (model,) = document["models"]
    assert (model["model"], model["size"]) == ("tiny", 32)
    ours = ("npresnet float32", "npresnet checkpoint_activations")
    assert [(r["contestant"], r["batch"]) for r in model["results"]] == [(name, n) for n in (3, 4) for name in ours]
    for result in model["results"]:
        assert result["status"] == "timed"
        assert 0 <= result["error"]["loss"] < 1e-6
        assert 0 < result["error"]["weights"] < check.TOLERANCES["weights"]
        assert len(result["turn_medians_ms"]) == 2
        assert result["images_per_second"] == pytest.approx(1e3 * result["batch"] / result["median_ms"])
        assert 1e7 < result["peak_memory_bytes"] < 1e9
    first, second = model["results"][:2]
    assert first["ratio"] == 1
    assert second["error"] == first["error"]  # the same to the last bit


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *ALONE, "--batch", 2, "--rounds", 1)
    assert status == 0, err
    assert "tiny: timing batch 2" in err
    machine, _, model, heading, line, *_ = out.splitlines()
    assert machine.endswith(", 1 thread")
    assert model.startswith("tiny, 32 x 32 pixels, ")
    assert " ".join(heading.split()) == "contestant batch ms median ms min images/s ratio peak memory error"
    assert len(heading) == len(line)
    assert line.split()[:3] == ["npresnet", "float32", "2"]
    assert line.split()[-4] == "1.00"
    assert line.split()[-2] == "MB"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--precision", "int8"], "--precision is of predictions"),
        (["--vs", "torch,onnxruntime"], "onnxruntime does not train here; with --training --vs is torch or none"),
        (["--batch", "0"], "at least 1, found '0'"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    status, out, err = run(capsys, "bench", "--training", *argv)
    assert (status, out) == (2, "")
    assert words in err.splitlines()[-1]


def test_a_batch_that_cannot_be_learned(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *ALONE[:-1], 4, "--batch", 1)  # the last map has one pixel
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("npresnet: tiny cannot be prepared: ")


# Who takes part


def test_contestants() -> None:
    for name in ("resnet50", "resnet20"):
        everyone, notes = list_contestants(npresnet.preset(name), ["torch"])
        assert notes == []
        assert [contestant.name for contestant in everyone] == [
            "npresnet float32", "npresnet checkpoint_activations", "torch eager", "torch channels-last",
        ]  # fmt: skip
    for name in ("resnet50d", "plain20"):
        fewer, notes = list_contestants(npresnet.preset(name), ["torch"])
        assert fewer == [BASELINE, CHECKPOINTING]
        assert "torch is left out" in notes[0]
    assert list_contestants(npresnet.preset("resnet50"), []) == ([BASELINE, CHECKPOINTING], [])


def test_usual_batches() -> None:
    assert [usual_batch(npresnet.preset(name)) for name in ("resnet20", "resnet18", "resnet50")] == [128, 8, 8]


# What is right


def hand_written_steps(model: Any, images: Any, labels: Any, steps: int) -> tuple[float, float, Arrays]:
    """Gradient descent by the formulas, in float64; the loss and gradient norm are those of the last step."""
    model = model.astype(np.float64).train()
    momentum = {name: 0.0 for name, _ in model.named_parameters()}
    loss = norm = 0.0
    for _ in range(steps):
        model.zero_grad()
        loss = model(images.astype(np.float64), labels).loss
        model.backward()
        norm = sum((p.grad**2).sum() for p in model.parameters()) ** 0.5
        for name, p in model.named_parameters():
            momentum[name] = 0.9 * momentum[name] + p.grad + 1e-4 * p.data
            p.data = p.data - 0.01 * momentum[name]
    return loss, norm, model.state_dict()


@pytest.mark.parametrize("small", [material.SMALL, 0])
def test_prepared_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: float) -> None:
    monkeypatch.setattr(material, "SMALL", small)
    counts = material.prepare(ResNetConfig(**TINY), 32, [4, 2], tmp_path, ["npresnet"])
    assert counts.keys() == {"macs", "params"}
    files = material.TrainingMaterial(tmp_path)
    images, labels = np.load(files.images), np.load(files.labels)
    assert (images.shape, labels.shape) == ((4, 3, 32, 32), (4,))
    assert set(labels) <= set(range(7))
    assert not files.transformers.exists()
    rtol, atol = (1e-12, 1e-14) if small else (1e-5, 1e-5)
    for batch in (4, 2):
        found = np.load(files.outcome(batch))
        model = npresnet.load(files.weights)
        loss, norm, state = hand_written_steps(model, images[:batch], labels[:batch], 1)
        assert found["loss"] == pytest.approx(loss, rel=rtol)
        assert found["gradient_norm"] == pytest.approx(norm, rel=10 * rtol)
        assert set(found.files) == {"loss", "gradient_norm", *state}
        for name, array in state.items():
            assert found[name].dtype == (np.int64 if "tracked" in name else np.float64 if small else np.float32)
            np.testing.assert_allclose(found[name], array, rtol, atol, err_msg=name)


def test_steps_have_a_momentum_and_new_gradients(tmp_path: Path) -> None:
    material.prepare(ResNetConfig(**TINY), 32, [4], tmp_path, ["npresnet"])
    files = material.TrainingMaterial(tmp_path)
    images, labels = files.first_images(4), files.first_labels(4)
    loss, norm, state = hand_written_steps(npresnet.load(files.weights), images, labels, 3)
    model = npresnet.load(files.weights).astype(np.float64)
    learner = NpresnetLearner(model, TrainingStep(model), images.astype(np.float64), labels)
    learner.step()
    learner.step()
    found = take_step(learner)
    assert found.pop("loss") == pytest.approx(loss, rel=1e-10)
    assert found.pop("gradient_norm") == pytest.approx(norm, rel=1e-10)
    for name, array in state.items():
        np.testing.assert_allclose(found[name], array, 1e-10, 1e-12, err_msg=name)


def test_one_of_us_keeps_less(tmp_path: Path) -> None:
    config = ResNetConfig(**{**TINY, "depths": (2, 2)})
    material.prepare(config, 32, [2], tmp_path, ["npresnet"])
    learners: list[Any] = [
        load_learner(contestant, material.TrainingMaterial(tmp_path), 2, 1) for contestant in (BASELINE, CHECKPOINTING)
    ]
    keeping, saving = [(learner.step(), learner._step.plan.memory_bytes) for learner in learners]
    assert saving[0] == keeping[0]
    assert saving[1] < keeping[1]


# Who is right


def outcomes() -> tuple[Arrays, Arrays]:
    """What was before a step, and what is right after it."""
    rng = np.random.default_rng(0)
    before: Arrays = {
        "a.weight": rng.standard_normal((6, 5)), "a.bias": rng.standard_normal(5),
        "n.running_var": rng.uniform(1, 2, 5), "n.num_batches_tracked": np.array(3),
    }  # fmt: skip
    right = {name: array + 0.01 * rng.standard_normal(array.shape) for name, array in before.items()}
    right["n.num_batches_tracked"] = np.array(4)
    return before, {**right, "loss": np.array(2.0), "gradient_norm": np.array(5.0)}


def test_the_right_outcome_is_right() -> None:
    before, right = outcomes()
    verdict = judge(right, right, {**before, "else": np.array("text")})
    assert verdict.right
    assert verdict.errors == dict.fromkeys(check.TOLERANCES, 0)


def spoilt(name: str, change: Callable[[Any], Any]) -> check.Verdict:
    before, right = outcomes()
    return judge({**right, name: change(right[name])}, right, before)


def test_errors_are_relative() -> None:
    before, right = outcomes()
    assert spoilt("loss", lambda loss: loss + 1e-5).errors["loss"] == pytest.approx(5e-6)
    assert spoilt("gradient_norm", lambda norm: norm - 0.02).errors["gradient_norm"] == pytest.approx(4e-3)
    change = right["a.bias"] - before["a.bias"]
    errors = spoilt("a.bias", lambda bias: bias + 0.03 * change).errors
    assert errors["worst_weights"] == pytest.approx(0.03)
    whole = np.hypot(np.linalg.norm(change), np.linalg.norm(right["a.weight"] - before["a.weight"]))
    assert errors["weights"] == pytest.approx(0.03 * np.linalg.norm(change) / whole)
    change = right["n.running_var"] - before["n.running_var"]
    assert spoilt("n.running_var", lambda x: x + 1e-3 * change).errors["statistics"] == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("loss", lambda loss: loss * (1 + 2e-5), "its loss after a step: 2.0e-05 off, 1e-05 is allowed"),
        ("gradient_norm", lambda norm: norm * 1.01, "its gradient norm"),
        ("a.weight", lambda x: x + 0.001, "its weights"),
        ("a.bias", lambda x: outcomes()[0]["a.bias"] * 0.3 + x * 0.7, "its w"),
        ("n.running_var", lambda x: x * 1.01, "its statistics"),
        ("n.num_batches_tracked", lambda x: x + 1, "its statistics"),
        ("loss", lambda loss: loss * np.nan, "its loss"),
        ("a.weight", lambda x: x * np.nan, "its weights"),
        ("n.running_var", lambda x: x * np.nan, "its statistics"),
        ("a.weight", lambda x: x.T, "its a.weight has shape (5, 6), expected (6, 5)"),
    ],
)
def test_the_wrong_are_told_why(name: str, change: Callable[[Any], Any], words: str) -> None:
    verdict = spoilt(name, change)
    assert not verdict.right
    assert verdict.reason.startswith(words)


def test_one_array_that_did_not_change_is_wrong_however_small() -> None:
    before, right = outcomes()
    before["small.bias"] = np.ones(2)
    right["small.bias"] = np.array([1, 1.0001])
    verdict = judge({**right, "small.bias": before["small.bias"]}, right, before)
    assert verdict.errors["weights"] < check.TOLERANCES["weights"]
    assert not verdict.right
    assert "worst weights" in verdict.reason


def test_other_arrays_are_wrong() -> None:
    before, right = outcomes()
    assert judge({**right, "b": np.ones(1)}, right, before).reason == "b is in its outcome only"
    assert judge(right, {**right, "b": np.ones(1)}, before).reason == "b is in the right outcome only"


# What is counted


class FakeWorker:
    """Answers as a worker does: outcomes that are as wrong, and times that are as long, as a test wants them."""

    def __init__(self, spoil: Callable[[Contestant, Arrays], Arrays], times: dict[Contestant, Any]) -> None:
        self.spoil, self.times = spoil, times
        self.asked: list[tuple[str, Contestant | None]] = []

    def __call__(self, log: Path, threads: int) -> FakeWorker:
        worker = FakeWorker(self.spoil, self.times)
        worker.asked = self.asked
        return worker

    def __enter__(self) -> FakeWorker:
        self.contestant: Contestant | None = None
        return self

    def __exit__(self, *error: object) -> None:
        self.asked.append(("close", self.contestant))

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        if do == "build_learner":
            self.contestant = Contestant(*arguments["contestant"])
        self.asked.append((do, self.contestant))
        if do == "prepare_training":
            before, right = outcomes()
            files = material.TrainingMaterial(Path(arguments["folder"]))
            np.savez(files.weights, **before)
            for batch in arguments["batches"]:
                np.savez(files.outcome(batch), **right)
            return {"macs": 1_000_000_000, "params": 5}
        assert self.contestant is not None
        if do == "build_learner" and isinstance(self.times[self.contestant], Exception):
            raise self.times[self.contestant]
        if do == "check_step":
            np.savez(arguments["output"], **self.spoil(self.contestant, outcomes()[1]))
        if do == "time":
            found = self.times[self.contestant].pop(0)
            if isinstance(found, Exception):
                raise found
            return {"milliseconds": found}
        return {"bytes": 0 if self.contestant == EAGER else 200_000_000}


def fake_run(
    times: dict[Contestant, Any], spoil: Callable[[Contestant, Arrays], Arrays] = lambda contestant, arrays: arrays
) -> tuple[dict[str, Any], FakeWorker]:
    """A benchmark of these contestants, three rounds of the usual batch, without processes."""
    factory = FakeWorker(spoil, times)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("npresnet.benchmark.training.run.list_contestants", lambda *ignored: (list(times), []))
        document = run_training_benchmark(Request(["resnet18"], None, None, [], 2, 3), Progress(), factory)
    return document, factory


def test_figures_from_known_times(capsys: pytest.CaptureFixture[str]) -> None:
    document, factory = fake_run({
        BASELINE: [[10.0, 11.0, 90.0], [20.0] * 3, [30.0, 39.0, 31.0]],  # medians 11, 20, 31
        EAGER: [[33.0] * 3, [10.0] * 3, [62.0, 62.0, 1.0]],  # ratios 3, 0.5, 2
    })  # fmt: skip
    (model,) = document["models"]
    ours, theirs = model["results"]
    assert (model["size"], ours["batch"]) == (224, 8)
    assert (ours["median_ms"], ours["min_ms"], ours["ratio"], ours["images_per_second"]) == (20, 10, 1, 400)
    assert (theirs["median_ms"], theirs["min_ms"], theirs["ratio"]) == (33, 1, 2)
    assert (ours["peak_memory_bytes"], theirs["peak_memory_bytes"]) == (200_000_000, None)
    assert [do for do, _ in factory.asked].count("close") == 3
    report.show(document)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[4:6]]
    assert rows[0] == ["npresnet", "float32", "8", "20.00", "10.00", "400.0", "1.00", "200", "MB", "0e+00"]
    assert rows[1] == ["torch", "eager", "8", "33.00", "1.00", "242.4", "2.00", "-", "0e+00"]


def test_the_wrong_and_the_failed_are_shown_and_not_timed(capsys: pytest.CaptureFixture[str]) -> None:
    peer = Contestant("torch", "float32", "channels-last")

    def spoil(contestant: Contestant, arrays: Arrays) -> Arrays:
        if contestant == CHECKPOINTING:
            raise WorkerError("some bug")
        return {**arrays, "a.weight": arrays["a.weight"] + 0.1 * (contestant == EAGER)}

    document, factory = fake_run({
        BASELINE: [[2.0]] * 3,
        CHECKPOINTING: [],
        EAGER: [],
        peer: [[1.0], WorkerError("its process ended with status -9")],
        Contestant("torch", "float32"): WorkerError("no such module", "ImportError"),
    }, spoil)  # fmt: skip
    results = document["models"][0]["results"]
    assert [(r["contestant"], r["status"]) for r in results] == [
        ("npresnet float32", "timed"), ("npresnet checkpoint_activations", "failed"), ("torch eager", "wrong"),
        ("torch channels-last", "failed"), ("torch float32", "failed"),
    ]  # fmt: skip
    assert {c for do, c in factory.asked if do == "time"} == {BASELINE, peer}
    assert [r["reason"] for r in results[1:2] + results[3:]] == [
        "some bug", "its process ended with status -9", "no such module",
    ]  # fmt: skip
    json.dumps(document, allow_nan=False)
    report.show(document)
    out = capsys.readouterr().out
    assert "torch eager, batch 8: wrong: its weights after a step: " in out
    assert "None" not in out


def test_a_network_whose_steps_are_not_compiled() -> None:
    document, _ = fake_run({BASELINE: WorkerError("groups", "ValueError"), EAGER: [[1.0]] * 3})
    (theirs,) = document["models"][0]["results"]
    assert (theirs["status"], theirs["ratio"]) == ("timed", None)
    assert document["notes"] == ["resnet18: npresnet float32 is left out: groups"]
    with pytest.raises(BenchmarkError, match="no contestant left"):
        fake_run({BASELINE: WorkerError("groups", "ValueError")})


def test_the_exit_status_and_the_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    document, _ = fake_run({BASELINE: [[2.0]] * 3, EAGER: []}, lambda c, a: {**a, "loss": a["loss"] + (c == EAGER)})
    monkeypatch.setattr("npresnet.benchmark.training.run.run_training_benchmark", lambda request, progress: document)
    drawn: list[Any] = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, path, **options: drawn.append(self))
    status, out, _ = run(capsys, "bench", "--training", "--plot", "bars.png")
    assert status == 1
    assert "wrong" in out
    (axis,) = drawn[0].axes
    assert [bar.get_width() for bar in axis.patches] == [2]
    assert axis.get_xlabel().startswith("ms of a training step, ")


# Processes


def test_a_worker_of_npresnet_imports_no_peer(tmp_path: Path) -> None:
    requests = [
        {"do": "prepare_training", "config": ResNetConfig(**TINY).to_dict(), "size": 32, "batches": [2],
         "folder": str(tmp_path), "engines": ["npresnet"]},
        {"do": "build_learner", "contestant": list(CHECKPOINTING), "folder": str(tmp_path), "batch": 2, "threads": 1},
        {"do": "check_step", "output": str(tmp_path / "found.npz")},
        {"do": "time", "batch": 2, "seconds": 0, "calls": 4},
        {"do": "memory"},
    ]  # fmt: skip
    code = (
        "import json, sys\n"
        "from npresnet.benchmark.worker import serve\n"
        "serve(sys.stdin, sys.stdout)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(npresnet.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(map(json.dumps, requests)), capture_output=True, text=True,
        env=environment, timeout=300, check=True,
    )  # fmt: skip
    *answers, modules = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [answer for answer in answers if "error" in answer]
    assert len(answers[-2]["milliseconds"]) == 4
    assert answers[-1]["bytes"] > 1e7
    assert not {"torch", "onnxruntime", "onnx", "transformers", "matplotlib", "rich"} & set(modules)
