"""``npresnet bench``: who takes part, who is right, what is counted, and nothing that stays behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import run

import npresnet
from npresnet.benchmark import BenchmarkError, contestants, first_prediction, material, report, starts, turns
from npresnet.benchmark.check import judge
from npresnet.benchmark.contestants import Contestant, choose_peers, list_contestants
from npresnet.benchmark.match import Request
from npresnet.benchmark.process import Process, WorkerError
from npresnet.benchmark.progress import Progress
from npresnet.benchmark.run import run_benchmark
from npresnet.benchmark.worker import serve
from npresnet.config import PRESETS, ResNetConfig

TINY = {**tiny.FIELDS, "num_labels": 7}
MACS = 4 * 3 * 49 * 16**2 + 2 * 4 * 4 * 9 * 8**2 + (4 * 8 * 9 + 8 * 8 * 9 + 4 * 8) * 4**2 + 8 * 7  # for 32 x 32 pixels
PARAMS = 3 * 4 * 49 + 2 * 4 * 4 * 9 + 4 * 8 * 9 + 8 * 8 * 9 + 4 * 8 + 2 * (3 * 4 + 3 * 8) + 8 * 7 + 7
OURS = Contestant("npresnet", "float32")
NO_STARTS = ("--no-starts", "--vs", "none", "--precision", "float32", "--threads", "1")


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPRESNET_DEBUG", raising=False)
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setattr(turns, "SECONDS", 0.0)
    monkeypatch.setattr(turns, "PAUSE", 0.0)
    monkeypatch.setattr(starts, "REPEATS", 1)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go in this process; whatever a test does, none may stay."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


# The whole command, in real processes


def test_one_document_on_stdout_and_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--batch", "1,3", "--size", 32, "--rounds", 2, "--json", "--output", "bench.json")
    status, out, err = run(capsys, "bench", "--model", "tiny", *NO_STARTS, *options)
    assert status == 0, err
    document = json.loads(out)
    assert json.loads(Path("bench.json").read_text()) == document
    assert [path.name for path in Path().glob(".*")] == []
    (model,) = document["models"]
    assert (model["model"], model["size"], model["macs"], model["starts"]) == ("tiny", 32, MACS, [])
    assert [(r["contestant"], r["batch"]) for r in model["results"]] == [("npresnet float32", n) for n in (1, 3)]
    for result in model["results"]:
        assert result["status"] == "timed"
        assert result["ratio"] == 1
        assert 0 < result["error"]["largest"] < 1e-4
        assert result["error"]["top1"] == 1
        assert len(result["turn_medians_ms"]) == 2
        assert 0 < result["min_ms"] <= min(result["turn_medians_ms"])
        assert result["median_ms"] == pytest.approx(sum(result["turn_medians_ms"]) / 2)
        assert result["images_per_second"] == pytest.approx(1e3 * result["batch"] / result["median_ms"])
        assert result["gflops"] == pytest.approx(2 * MACS * result["images_per_second"] / 1e9)
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["versions"]["numpy"] == np.__version__
    assert (document["threads"], document["rounds"]) == (1, 2)


def test_starts(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "bench", "--model", "tiny", *NO_STARTS[1:], "--size", 32, "--rounds", 1)
    assert status == 0, err
    *_, heading, line, _, _, _, _ = out.splitlines()
    assert heading.split("  ")[0] == "contestant"
    name, memory, first, empty = filter(None, map(str.strip, line.split("  ")))
    assert name == "npresnet float32"
    assert 10 < float(memory.removesuffix(" MB")) < 2000
    assert float(first.removesuffix(" s")) > 0
    assert float(empty.removesuffix(" s")) > 0


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "bench", "--model", "tiny", *NO_STARTS, "--batch", 2, "--rounds", 1, "--size", 32)
    assert status == 0, err
    assert "tiny: timing batch 2" in err
    machine, _, model, heading, line, *_ = out.splitlines()
    assert ", 1 thread" in machine
    assert model.startswith("tiny, 32 x 32 pixels, ")
    assert " ".join(heading.split()) == "contestant batch ms median ms min images/s GFLOP/s % of peak ratio error"
    assert len(heading) == len(line)
    cells = line.split()
    assert cells[:3] == ["npresnet", "float32", "2"]
    assert cells[-2] == "1.00"


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, temporary: Path) -> None:
    code = (
        "import sys; from npresnet.config import PRESETS; from npresnet.cli import main\n"
        f"PRESETS['tiny'] = {TINY!r}\n"
        f"sys.exit(main(['bench', '--model', 'tiny', *{NO_STARTS!r}, '--size', '32', '--rounds', '1000',"
        " '--output', 'bench.json']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(npresnet.__file__).parents[1]), "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as process:
        assert process.stderr is not None
        while (line := process.stderr.readline()) and "timing" not in line:
            pass
        assert line, "it ended too early"
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert rest == "npresnet: interrupted\n"
    assert list(temporary.iterdir()) == []
    assert not list(tmp_path.glob("*bench.json*")) + list(tmp_path.glob(".*"))
    if sys.platform == "linux":
        assert children
        assert not [child for child in children if Path(f"/proc/{child}").exists()]


def children_of(pid: int) -> list[int]:
    """Process ids, where the system tells."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--model", "resnet51"], "unknown architecture 'resnet51'; did you mean "),
        (["--model", "resnet50,,resnet18"], "unknown architecture ''"),
        (["--batch", "0"], "at least 1, found '0'"),
        (["--batch", "1,x"], "at least 1, found 'x'"),
        (["--size", "-1"], "--size"),
        (["--vs", "torch,onnxrutime"], "unknown peer 'onnxrutime'; did you mean onnxruntime"),
        (["--vs", "none,torch"], "unknown peer 'none'"),
        (["--precision", "float16"], "unknown precision 'float16'; did you mean "),
        (["--precision", "q"], "choose from float32, bfloat16, int8"),
        (["--threads", "two"], "--threads"),
        (["--rounds", "0"], "--rounds"),
        (["--plot", "bars.gif"], ".png, .pdf, .svg, found 'bars.gif'"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    status, out, err = run(capsys, "bench", *argv)
    assert (status, out) == (2, "")
    *_, line = err.splitlines()
    assert line.startswith("npresnet bench: error: argument --")
    assert words in line


def test_what_cannot_be_written_shows_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in (["--output", "no/such.json"], ["--plot", "no/such.png"]):
        status, out, err = run(capsys, "bench", "--model", "tiny", *option)
        assert (status, out) == (1, "")
        assert err.count("\n") == 1
        assert "does not exist; create it first" in err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, err = run(capsys, "bench", "--model", "tiny", "--plot", "bars.png", "--output", "bench.json")
    assert (status, out) == (1, "")
    assert err == "npresnet: --plot needs matplotlib: pip install 'npresnet[plots]'\n"
    assert not list(Path().glob("*bench*"))


def test_a_picture_too_small_for_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    PRESETS["tiny"] = {**TINY, "num_labels": 3, "stem_pool": "caffe"}
    status, out, err = run(capsys, "bench", "--model", "tiny", *NO_STARTS, "--size", 1)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("npresnet: tiny cannot be prepared: ")


# Who takes part


def test_peers_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"onnxruntime", "torch", "transformers"}
    monkeypatch.setattr(
        contestants.importlib.util, "find_spec", lambda name: SimpleNamespace() if name in installed else None
    )
    assert choose_peers(None) == (["torch"], ["onnx is not installed: pip install onnxruntime onnx"])
    installed.clear()
    peers, notes = choose_peers(["onnxruntime"])
    assert (peers, notes) == ([], ["onnxruntime is not installed: pip install onnxruntime onnx"])
    installed.update(("onnxruntime", "onnx"))
    assert choose_peers(["onnxruntime"]) == (["onnxruntime"], [])
    assert choose_peers([]) == ([], [])


def test_contestants() -> None:
    everyone, notes = list_contestants(npresnet.preset("resnet50"), ["int8", "float32"], ["torch", "onnxruntime"])
    assert notes == []
    assert [contestant.name for contestant in everyone] == [
        "npresnet int8", "npresnet float32", "torch eager", "torch channels-last",
        "onnxruntime float32", "onnxruntime int8",
    ]  # fmt: skip
    fewer, notes = list_contestants(npresnet.preset("resnet50d"), ["float32"], ["torch", "onnxruntime"])
    assert [contestant.name for contestant in fewer] == ["npresnet float32", "onnxruntime float32"]
    assert len(notes) == 1
    assert "stem_type='deep', shortcut_type='avg_down'" in notes[0]


# What they are given


def test_statistics_are_those_of_a_batch_and_logits_depend_on_the_picture() -> None:
    config = ResNetConfig(layer_type="basic", embedding_size=8, hidden_sizes=(8, 16), depths=(2, 2), num_labels=20)
    model = npresnet.ResNetForImageClassification(config, seed=1)
    x = material.draw_images(6, 3, 40, seed=2)
    material.calibrate(model, x, seed=3)
    assert not any(module.training or module.keeps_cache for _, module in model.named_modules())
    with model.trace() as seen:
        logits = model(x).logits
    norms = [name for name, module in model.named_modules() if name.endswith("normalization")]
    assert len(norms) == 10
    modules = dict(model.named_modules())
    for name in norms:
        values = seen[name.replace("normalization", "convolution")].astype(np.float64)
        norm: Any = modules[name]
        # In training the layers before divide by the biased variance, so their output is a little larger.
        np.testing.assert_allclose(norm.running_mean, values.mean(axis=(0, 2, 3)), rtol=5e-3, atol=5e-3)
        np.testing.assert_allclose(norm.running_var, values.var(axis=(0, 2, 3), ddof=1), rtol=3e-2)
        assert norm.momentum == 0.1
    off_diagonal = np.corrcoef(logits)[~np.eye(len(x), dtype=bool)]
    assert off_diagonal.max() < 0.999


@pytest.mark.parametrize("small", [material.SMALL, 0])
def test_prepared_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: float) -> None:
    monkeypatch.setattr(material, "SMALL", small)
    counts = material.prepare(ResNetConfig(**TINY), 32, 5, tmp_path, ["npresnet"])
    assert counts == {"macs": MACS, "params": PARAMS}
    files = material.Material(tmp_path)
    images, logits = np.load(files.images), np.load(files.logits)
    assert (images.shape, images.dtype) == ((5, 3, 32, 32), np.float32)
    assert logits.dtype == (np.float64 if small else np.float32)
    np.testing.assert_allclose(npresnet.load(files.weights)(images).logits, logits, atol=1e-4)
    np.testing.assert_array_equal(files.first_images(2), images[:2])
    assert not files.transformers.exists()


# Who is right


def test_verdicts() -> None:
    rng = np.random.default_rng(0)
    right = 3 * rng.standard_normal((4, 50)) + 7
    spread = right.std(axis=1, keepdims=True)
    one_off = right.copy()
    one_off[2, 11] += 0.9e-3 * spread[2, 0]
    verdict = judge(one_off, right, "float32")
    assert verdict.right
    assert verdict.largest == pytest.approx(0.9e-3)
    assert verdict.rms == pytest.approx(0.9e-3 / np.sqrt(200))
    one_off[2, 11] += 0.2e-3 * spread[2, 0]
    verdict = judge(one_off, right, "float32")
    assert not verdict.right
    assert "1.1e-03 standard deviations" in verdict.reason
    assert judge(one_off, right, "int8").right

    noisy = right + 0.2 * spread * rng.standard_normal(right.shape)
    verdict = judge(noisy, right, "int8")
    assert verdict.right
    assert verdict.rms == pytest.approx(0.2, rel=0.2)
    assert 0.95 < verdict.correlation < 1
    verdict = judge(right[::-1], right, "int8")  # every picture's logits at another picture: the same numbers
    assert not verdict.right
    assert verdict.top1 < 1
    assert "at least 0.9" in verdict.reason
    brightness = np.array([[0], [100], [200], [300]])  # what a picture's logits have in common tells nothing
    assert not judge(right[::-1] + brightness, right + brightness, "int8").right


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_no_numbers_are_no_right_numbers(precision: str) -> None:
    right = np.random.default_rng(0).standard_normal((2, 9))
    assert not judge(np.full_like(right, np.nan), right, precision).right
    assert not judge(np.ones_like(right), right, precision).right
    assert not judge(right[:1], right, precision).right
    assert "shape (2, 8), expected (2, 9)" in judge(right[:, :8], right, precision).reason


# What is counted


def test_turns() -> None:
    order: list[str] = []
    rounds: list[int] = []

    def turn(name: str) -> list[float]:
        order.append(name)
        return [float(len(order))] * 3

    times = turns.take_turns("abc", turn, 4, 0.0, rounds.append)
    assert "".join(order) == "abcbcacababc"
    assert rounds == [0, 1, 2, 3]
    assert times["a"] == [[1.0] * 3, [6.0] * 3, [8.0] * 3, [10.0] * 3]
    assert turns.turn_medians([[1, 9, 2], [4, 5]]) == [2, 4.5]
    assert turns.paired_ratio([2, 20, 9], [1, 5, 3]) == 3  # 2, 4, 3; the ratio of the medians would be 3 as well
    assert turns.paired_ratio([4, 20, 60], [1, 10, 100]) == 2  # 4, 2, 0.6; of the medians 2
    assert turns.paired_ratio([3, 20, 60], [1, 30, 15]) == 3  # 3, 0.7, 4; of the medians 1.3


class FakeWorker:
    """Answers as a worker does: logits that are as wrong, and times that are as long, as a test wants them."""

    def __init__(self, spoil: Callable[[Contestant, Any], Any], times: dict[Contestant, list[Any]]) -> None:
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
        if do == "build":
            self.contestant = Contestant(*arguments["contestant"])
            self.folder = Path(arguments["folder"])
        self.asked.append((do, self.contestant))
        if do == "peak":
            busy = [name for name, _ in self.asked].count("peak") == 1
            return {"gflops": {"float32": 80.0 if busy else 100.0, "int8": 400.0 if busy else 300.0, "bfloat16": None}}
        if do == "prepare":
            rng = np.random.default_rng(0)
            np.save(material.Material(Path(arguments["folder"])).logits, rng.standard_normal((8, 30)))
            return {"macs": 1_000_000_000, "params": 5}
        assert self.contestant is not None
        if do == "check":
            logits = np.load(material.Material(self.folder).logits)[: arguments["batch"]]
            np.save(arguments["output"], self.spoil(self.contestant, logits))
        if do == "time":
            found = self.times[self.contestant].pop(0)
            if isinstance(found, Exception):
                raise found
            return {"milliseconds": found}
        if do == "build" and isinstance(self.times.get(self.contestant), Exception):
            raise self.times[self.contestant]  # type: ignore[misc]
        return {}


def fake_run(
    times: dict[Contestant, Any], spoil: Callable[[Contestant, Any], Any] = lambda contestant, logits: logits
) -> tuple[dict[str, Any], FakeWorker]:
    """A benchmark of these contestants, three rounds of batch 8, without processes."""
    factory = FakeWorker(spoil, times)
    peers = list(dict.fromkeys(c.engine for c in times if c.engine != "npresnet"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("npresnet.benchmark.run.choose_peers", lambda wanted: (peers, []))
        patch.setattr("npresnet.benchmark.run.list_contestants", lambda *ignored: (list(times), []))
        request = Request(["resnet18"], [8], 64, peers, ["float32", "int8", "bfloat16"], 2, 3, starts=False)
        document = run_benchmark(request, Progress(), factory)
    return document, factory


def test_figures_from_known_times() -> None:
    peer, low = Contestant("onnxruntime", "float32"), Contestant("npresnet", "int8")
    document, _ = fake_run({
        OURS: [[10.0, 11.0, 90.0], [20.0, 20.0, 20.0], [30.0, 39.0, 31.0]],  # medians 11, 20, 31
        low: [[4.0, 5.0, 5.0], [5.0] * 3, [5.0] * 3],
        peer: [[33.0] * 3, [10.0] * 3, [62.0, 62.0, 1.0]],  # ratios 3, 0.5, 2
    })  # fmt: skip
    ours, quantized, theirs = document["models"][0]["results"]
    assert (ours["median_ms"], ours["min_ms"], ours["ratio"]) == (20, 10, 1)
    assert ours["images_per_second"] == 400
    assert ours["gflops"] == pytest.approx(800)  # 2 GFLOP for a picture
    assert ours["percent_of_peak"] == pytest.approx(800)
    assert (theirs["median_ms"], theirs["min_ms"], theirs["ratio"]) == (33, 1, 2)
    assert theirs["turn_medians_ms"] == [33, 10, 62]
    assert quantized["ratio"] == pytest.approx(5 / 20)
    assert document["peak_gflops"] == {"float32": 100, "int8": 400, "bfloat16": None}
    assert quantized["percent_of_peak"] == pytest.approx(100 * 3200 / 400)


def test_the_wrong_are_shown_and_not_timed(capsys: pytest.CaptureFixture[str]) -> None:
    peer, low = Contestant("torch", "float32", "eager"), Contestant("npresnet", "int8")

    def spoil(contestant: Contestant, logits: Any) -> Any:
        return logits + 0.01 * np.random.default_rng(1).standard_normal(logits.shape) * (contestant != OURS)

    document, factory = fake_run({OURS: [[1.0]] * 3, low: [[1.0]] * 3, peer: []}, spoil)
    by_name = {result["contestant"]: result for result in document["models"][0]["results"]}
    assert {name: result["status"] for name, result in by_name.items()} == {
        "npresnet float32": "timed", "npresnet int8": "timed", "torch eager": "wrong",
    }  # fmt: skip
    assert ("time", peer) not in factory.asked
    assert by_name["npresnet int8"]["error"]["rms"] == pytest.approx(0.01, rel=0.2)
    report.show(document)
    out = capsys.readouterr().out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("torch eager  ")]
    assert row[2:4] == ["8", "wrong"]
    assert "torch eager, batch 8: wrong: a logit is " in out
    assert f"  {by_name['npresnet int8']['error']['rms']:.2g}, top-1 8/8\n" in out


def test_failures_do_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    peer, low = Contestant("torch", "float32", "eager"), Contestant("npresnet", "int8")
    bf16, ort = Contestant("npresnet", "bfloat16"), Contestant("onnxruntime", "float32")
    document, factory = fake_run({
        OURS: [[2.0]] * 3,
        peer: [[1.0], WorkerError("its process ended with status -9"), [1.0]],
        low: WorkerError("this processor has no int8", "ValueError"),
        bf16: WorkerError("some bug", "IndexError"),
        ort: WorkerError("DLL load failed", "ImportError"),
    })  # fmt: skip
    results = document["models"][0]["results"]
    assert [(r["contestant"], r["status"], r["reason"]) for r in results] == [
        ("npresnet float32", "timed", None),
        ("torch eager", "failed", "its process ended with status -9"),
        ("npresnet bfloat16", "failed", "some bug"),
        ("onnxruntime float32", "failed", "DLL load failed"),
    ]
    assert document["notes"] == ["resnet18: npresnet int8 is left out: this processor has no int8"]
    assert [c for do, c in factory.asked if do == "time" and c == peer] == [peer] * 2
    assert [do for do, _ in factory.asked].count("close") == 8  # five contestants, peak twice, prepare
    json.dumps(document, allow_nan=False)
    report.show(document)
    assert "DLL load failed" in capsys.readouterr().out


@pytest.mark.parametrize("ours", [WorkerError("no build"), [[1.0], WorkerError("no second turn")]])
def test_without_our_float32_there_is_no_ratio(capsys: pytest.CaptureFixture[str], ours: Any) -> None:
    document, _ = fake_run({OURS: ours, Contestant("torch", "float32", "eager"): [[1.0]] * 3})
    _, theirs = document["models"][0]["results"]
    assert (theirs["status"], theirs["ratio"]) == ("timed", None)
    report.show(document)
    assert "None" not in capsys.readouterr().out


def test_nobody_is_left() -> None:
    with pytest.raises(BenchmarkError, match="no contestant left"):
        fake_run({OURS: WorkerError("no such instructions", "ValueError")})


def test_the_exit_status_tells_of_wrong_logits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document, _ = fake_run({OURS: []}, lambda contestant, logits: -logits)
    monkeypatch.setattr("npresnet.benchmark.run.run_benchmark", lambda request, progress: document)
    status, out, _ = run(capsys, "bench")
    assert status == 1
    assert "wrong" in out


# Processes


def test_a_worker_of_npresnet_imports_no_peer() -> None:
    code = (
        "import io, json, sys, tempfile\n"
        "from npresnet.benchmark.worker import serve\n"
        "folder = tempfile.mkdtemp()\n"
        "requests = [\n"
        f"  dict(do='prepare', config={ResNetConfig(**TINY).to_dict()!r}, size=32, images=2, folder=folder,\n"
        "       engines=['npresnet']),\n"
        "  dict(do='build', contestant=['npresnet', 'float32', ''], folder=folder, batches=[2], threads=1),\n"
        "  dict(do='check', batch=2, output=folder + '/found.npy'),\n"
        "  dict(do='time', batch=2, seconds=0, calls=4)]\n"
        "answers = io.StringIO()\n"
        "serve(io.StringIO(chr(10).join(map(json.dumps, requests))), answers)\n"
        "import shutil; shutil.rmtree(folder)\n"
        "print(answers.getvalue() + json.dumps(list(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(npresnet.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    *answers, modules = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [answer for answer in answers if "error" in answer]
    assert len(answers[-1]["milliseconds"]) == 4
    assert not {"torch", "onnxruntime", "onnx", "transformers", "matplotlib", "rich"} & set(modules)


def test_a_worker_tells_what_went_wrong_and_stays() -> None:
    requests = [{"do": "build", "contestant": ["npresnet", "float32"], "folder": "/none", "batches": [1], "threads": 1}]
    answers = io.StringIO()
    serve(io.StringIO("\n".join(map(json.dumps, requests * 2))), answers)
    first, second = map(json.loads, answers.getvalue().splitlines())
    assert first == second
    assert first["kind"] == "FileNotFoundError"
    assert "/none" in first["error"]


def test_a_process_that_dies_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log"
    log.parent.mkdir()
    with Process(log, 1) as worker:
        pid = worker._process.pid
        with pytest.raises(WorkerError, match="nonsense") as caught:
            worker.ask("nonsense")
        assert caught.value.kind == "AttributeError"
        log.write_text("some\nlast words\n\n")
        os.kill(pid, signal.SIGTERM)
        with pytest.raises(WorkerError, match=r"ended with status -15: last words"):
            worker.ask("peak", precisions=[], threads=1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_does_not_outlive_its_context(tmp_path: Path) -> None:
    with Process(tmp_path / "log", 1) as worker:
        process = worker._process
        assert process.poll() is None
    assert process.poll() is not None


def test_a_worker_ends_with_its_pipe(tmp_path: Path) -> None:
    with Process(tmp_path / "log", 1) as worker:
        assert worker._process.stdin is not None
        worker._process.stdin.close()
        assert worker._process.wait(timeout=60) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="where a new process inherits its parent's peak")
def test_memory_is_that_of_the_process_alone() -> None:
    block = np.ones(40_000_000)  # 320 MB
    code = f"import runpy; print(runpy.run_path({first_prediction.__file__!r})['peak_memory']())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert 1e6 < int(done.stdout) < 1e8 < block.nbytes


def test_the_start_of_a_process_that_fails(tmp_path: Path) -> None:
    files = material.Material(tmp_path)
    with pytest.raises(WorkerError, match=r"ended with status 1: .*images\.npy"):
        starts.start_once(OURS, files, 1)


# Pictures


def test_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    document, _ = fake_run({OURS: [[2.0]] * 3, Contestant("onnxruntime", "float32"): [[4.0]] * 3})
    monkeypatch.setattr("npresnet.benchmark.run.run_benchmark", lambda request, progress: document)
    drawn: list[Any] = []
    savefig = figure.Figure.savefig
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *a, **k: (drawn.append(self), savefig(self, *a, **k)))
    assert run(capsys, "bench", "--plot", "bars.png")[0] == 0
    assert Path("bars.png").read_bytes().startswith(b"\x89PNG")
    (axis,) = drawn[0].axes
    assert axis.get_title(loc="left") == "resnet18, batch 8"
    assert axis.yaxis_inverted()
    assert [bar.get_width() for bar in axis.patches] == [2, 4]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["npresnet float32", "onnxruntime float32"]
    document["models"][0]["results"] = []
    status, _, err = run(capsys, "bench", "--plot", "other.svg")
    assert status == 1
    assert "nothing to plot" in err
    assert not list(Path().glob("*other*"))


# Progress


def test_progress_in_a_file_and_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def play() -> str:
        with Progress() as progress:
            progress.stage("timing " + 200 * "x")
            progress.step("round 1 of 2")
            progress.note("torch is not installed")
        return capsys.readouterr().err

    assert play() == f"timing {200 * 'x'}\nnote: torch is not installed\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    assert play().split("\r\x1b[K") == [
        "", "timing xxxxxxxxxxxxxxxxxxxxxx", "timing xxxxxxxxxxxxxxxxxxxxxx", "note: torch is not installed\n",
        "timing xxxxxxxxxxxxxxxxxxxxxx", "",
    ]  # fmt: skip
