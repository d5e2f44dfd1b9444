"""The command line, called in the process: output, errors on one line, exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from tiny import run

from npresnet import cli
from npresnet.cli import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPRESNET_DEBUG", raising=False)


# The frame


def test_help_has_examples_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], *([name] for name in cli.COMMANDS)):
        status, out, err = run(capsys, *argv, "--help")
        assert (status, err) == (0, "")
        assert "examples:\n  npresnet " in out


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--help")
    for name in cli.COMMANDS:
        assert f"\n    {name} " in out


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["predict"],
        ["predict", "x.png", "--top-k", "0"],
        ["fetch"],
        ["predict", "x.png", "--json", "--csv", "f"],
        ["convert", "a", "b", "--dtype", "int8"],
    ],
)
def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    status, out, err = run(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.startswith("usage: npresnet")


def test_the_module_runs_and_imports_nothing_heavy() -> None:
    code = "import sys; from npresnet.cli import main; main(['fetch', '--help']); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "npresnet", "--version"], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("npresnet ")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    loaded = set(done.stdout.split())
    assert "npresnet.commands.fetch" in loaded
    assert not loaded & {"numba", "scipy", "PIL.Image", "rich", "urllib.request", "safetensors", "torch"}


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("bad\n  value"), 1, "npresnet: bad value\n"),
        (FileNotFoundError(2, "No such file or directory", "x.npz"), 1, "npresnet: x.npz: No such file or directory\n"),
        (ModuleNotFoundError("install h5py"), 1, "npresnet: install h5py\n"),
        (MemoryError(), 1, "npresnet: not enough memory\n"),
        (KeyboardInterrupt(), 130, "npresnet: interrupted\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_errors_are_one_line_and_a_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, line: str
) -> None:
    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr("npresnet.commands.fetch.run", fail)
    assert run(capsys, "fetch", "--list") == (status, "", line)


def test_debugging_shows_where_an_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPRESNET_DEBUG", "1")
    with pytest.raises(ValueError, match="did you mean"):
        main(["fetch", "resnet51"])


def test_a_closed_pipe_is_quiet() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    command = [sys.executable, "-m", "npresnet", "fetch", "--list"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


# fetch


def test_the_list_shows_names_sources_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "fetch", "--list")
    assert (status, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "torchvision 25.56 M 4.09 80.86 95.43 97.8" in " ".join(lines["resnet50"].split())
    assert "transformers" in lines["microsoft/resnet-50"]
    assert lines["resnet34.a1"].split()[1] == "*"
    assert max(map(len, out.splitlines())) <= 100


def test_fetch_prints_the_path(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def fake(name: str, output: str | None, **options: object) -> Path:
        seen.extend([name, output, options])
        return Path("w/r50.npz")

    monkeypatch.setattr("npresnet.fetching.fetch", fake)
    assert run(capsys, "fetch", "resnet50", "-o", "w/r50.npz", "--force") == (0, "w/r50.npz\n", "")
    assert seen == ["resnet50", "w/r50.npz", {"keep": False, "force": True, "progress": True}]
    _, _, err = run(capsys, "fetch", "resnet34.a1")
    assert "no SHA-256 is published for resnet34.a1" in err


def test_fetch_of_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "fetch", "resnet51")
    assert (status, out) == (1, "")
    assert err.startswith("npresnet: no published weights are called 'resnet51'; did you mean resnet50")
    assert err.count("\n") == 1


# summary


def test_summary_of_an_architecture_and_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    for name, parameters in (("resnet18", "11,689,512"), ("microsoft/resnet-50", "25,557,032")):
        status, out, _ = run(capsys, "summary", name)
        assert status == 0
        assert parameters in out
    weights = tiny.save("weights.npz")
    lines = [len(run(capsys, "summary", weights, "--depth", depth)[1].splitlines()) for depth in (1, 2, 3, 4)]
    assert lines == sorted(set(lines))
    status, out, _ = run(capsys, "summary", weights, "--input-size", 64)
    assert status == 0
    assert " 4 x 32 x 32 " in out  # behind the stem's convolution
    assert " 4 x 32 x 32 " not in run(capsys, "summary", weights)[1]  # the weights want 32 x 32 pixels


def test_summary_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "summary", "resnet51")
    assert status == 1
    assert "there is no file 'resnet51'" in err
    assert "did you mean" in err
    status, _, err = run(capsys, "summary", "gone.npz")
    assert (status, err) == (1, "npresnet: gone.npz: No such file or directory\n")


def test_summary_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "summary", "resnet18", "--json", "--depth", 1)
    assert status == 0
    document = json.loads(out)
    assert document["params"] == 11_689_512
    assert document["macs"] == pytest.approx(1.814e9, rel=1e-3)
