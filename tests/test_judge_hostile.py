"""Submissions that want more than they worked for: none gains anything, hangs, or leaves anything behind.

Each file of ``hostile/`` says how its run may end. Most give right answers only if their attack succeeded, so that
"nothing was accepted" means that the attack failed. They are run without the policy, so that the locks are shown to
hold; with it, most are refused before they run.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from npresnet.grading import judge, solution
from npresnet.grading.judge import CaseResult, Limits, PartRun, isolation, run_part
from npresnet.grading.part import Case, Step

FILES = sorted((Path(__file__).parent / "hostile").glob("*.py"))
KERNEL, AUDIT_HOOK = "kernel", "audit hook"
LIMITS = Limits(seconds=10.0, memory_mb=192, file_mb=4, output_kb=256)
SHORT = Limits(seconds=0.7, memory_mb=192, file_mb=4, output_kb=256)  # for those that would use up any time
STRONG = "Landlock and seccomp" in isolation()[:30]
LINUX = sys.platform == "linux"


def case_of(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    inputs = {"x": rng.normal(size=(2, 3)), "dy": rng.normal(size=(2, 3))}
    script = (Step("relu_forward", ("x",), ("y", "cache")), Step("relu_backward", ("dy", "cache"), ("dx",)))
    return Case("relu_backward", "any", {"secret": "settings"}, seed, "float64", inputs, script, ("y", "dx"))


CASES = [case_of(1), case_of(2)]


class Place(NamedTuple):
    """Where a submission must leave no trace."""

    temporary: Path  # of the judge
    outside: Path
    secret: Path
    children: frozenset[str]  # of this process before: pytest and multiprocessing may have their own


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    folders = [tmp_path / name for name in ("temporary", "outside")]
    for folder in folders:
        folder.mkdir()
    secret = tmp_path / "secret.txt"
    secret.write_text("expected values")
    secret.chmod(0o600)
    monkeypatch.setattr(tempfile, "tempdir", str(folders[0]))
    return Place(folders[0], folders[1], secret, frozenset(_python_children()))


def source_of(file: Path, place: Place) -> str:
    here = Path(judge.__file__).parents[3]
    values = {
        "PARENT": str(os.getpid()),
        "SECRET": str(place.secret),
        "OUTSIDE": str(place.outside),
        "SOLUTION": str(solution.__file__),
        "REPOSITORY": str(here),
        "SITES": ":".join(path for path in sys.path if path.endswith("-packages")),
    }
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], file.read_text())


def header(file: Path, key: str) -> list[str]:
    found = re.search(f"^# {key}: (.*)$", file.read_text(), re.M)
    return found[1].split(", ") if found else []


def accepted(run: PartRun) -> list[str]:
    """Outputs that would earn something, by a plain and strict comparison."""
    right = []
    for case, result in zip(CASES, run.results, strict=False):
        x, dy = case.inputs["x"], case.inputs["dy"]
        for name, answer in {"y": np.maximum(x, 0), "dx": dy * (x > 0)}.items():
            if _is_right(result, name, answer):
                right.append(name)
    return right


def _is_right(result: CaseResult, name: str, answer: np.ndarray) -> bool:
    if result.raised or result.inputs_changed or not result.repeated or name not in result.outputs:
        return False
    got = result.outputs[name]
    return type(got) is np.ndarray and got.dtype == answer.dtype and np.array_equal(got, answer)


def left_behind(place: Place) -> Iterator[str]:
    """Files that should not be there, and processes that know the judge's temporary folder."""
    yield from map(str, place.temporary.iterdir())
    yield from map(str, place.outside.iterdir())
    if place.secret.read_text() != "expected values" or stat.S_IMODE(place.secret.stat().st_mode) != 0o600:
        yield "the secret was changed"
    yield from map(str, Path("/tmp").glob("npresnet-owned*"))
    yield from map(str, Path("/dev/shm").glob("*npresnet-owned*"))
    if LINUX:
        yield from (f"process {process}" for process in _processes(str(place.temporary).encode()))
        yield from (f"a child: {child}" for child in _python_children() if child not in place.children)


def _python_children() -> Iterator[str]:
    """Numbers and names of the children of this process that run Python."""
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = process.read_text().rpartition(")")
        except OSError:
            continue
        if rest.split()[1] == str(os.getpid()) and "python" in name:
            yield name


def _processes(mark: bytes) -> Iterator[str]:
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environment.read_bytes():
                yield environment.parent.name
        except OSError:
            continue


HONEST = """
import numpy as np

def relu_forward(x):
    return np.maximum(x, 0), x > 0

def relu_backward(dy, cache):
    return dy * cache
"""


def run_and_look(file: Path, place: Place, *layers: str) -> PartRun:
    """Run, and insist on what holds for every submission."""
    source = source_of(file, place)
    limits = SHORT if "time" in header(file, "ends") else LIMITS
    started = time.monotonic()
    run = run_part(source, file.name, (), CASES, limits, layers=layers)
    assert time.monotonic() - started < 30  # nowhere near: no wait without an end
    assert run.seconds < limits.seconds + 5
    assert list(left_behind(place)) == []
    assert run.results == () or run.ended == "finished"
    assert len(run.results) in (0, len(CASES))
    if run.ended in ("killed", "protocol"):
        assert accepted(run_part(HONEST, "honest.py", (), CASES, LIMITS)) == ["y", "dx"] * 2
    return run


@pytest.mark.skipif(not STRONG, reason="this system has no Landlock or no seccomp")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_locked_in(file: Path, place: Place) -> None:
    """The kernel's locks hold by themselves: without the policy and without the audit hook."""
    run = run_and_look(file, place, KERNEL)
    assert run.ended in header(file, "ends"), run
    assert accepted(run) == []


@pytest.mark.parametrize("file", FILES[::6], ids=lambda file: file.stem)
def test_with_all_locks(file: Path, place: Place) -> None:
    run = run_and_look(file, place, KERNEL, AUDIT_HOOK)
    assert run.ended in header(file, "ends"), run
    assert accepted(run) == []


WITHOUT_KERNEL = [file for file in FILES if "kernel" not in header(file, "locks")]


@pytest.mark.parametrize("file", WITHOUT_KERNEL[::5], ids=lambda file: file.stem)
def test_with_the_audit_hook_alone(file: Path, place: Place) -> None:
    """A fifth of them; what needs the kernel to be stopped is left out, and :func:`isolation` says so."""
    run = run_and_look(file, place, AUDIT_HOOK)
    assert accepted(run) == []


@pytest.mark.skipif(not LINUX, reason="the attacks are on Linux")
@pytest.mark.parametrize(
    "name",
    [
        "reads_the_solution",
        "reads_a_secret",
        "reads_processes",
        "imports_npresnet",
        "network",
        "shell",
        "signals_the_judge",
    ],
)
def test_without_locks_they_would_win(name: str, place: Place) -> None:
    """So it is the locks that stop them, and not a mistake in the attack."""
    file = Path(__file__).parent / "hostile" / f"{name}.py"
    run = run_part(source_of(file, place), file.name, (), CASES, LIMITS, layers=())
    assert accepted(run) == ["y", "dx"] * 2


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 35


def test_the_policy_refuses_what_it_can_see() -> None:
    """Not every one: much that is hostile looks harmless, which is why the policy is not what keeps it in."""
    refused = [file.stem for file in FILES if any(finding.fatal for finding in judge.check_source(file.read_text()))]
    assert {"shell", "forks", "network", "imports_others", "reads_processes", "walks_the_stack", "hard_exit"} <= {
        *refused
    }
    assert not {"endless_loop", "lying_equality", "changes_its_input", "memory_hog"} & {*refused}
    assert len(refused) > len(FILES) / 3
