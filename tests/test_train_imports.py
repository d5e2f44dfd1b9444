"""What importing the room of training costs: nothing until it is used, and little then."""

from __future__ import annotations

import subprocess
import sys

import pytest

import npresnet.train

HEAVY = ("numba", "scipy", "PIL", "matplotlib", "rich", "threadpoolctl")
OWN = (
    "LAMB", "OPTIMIZERS", "SCHEDULES", "SGD", "AdamW", "EarlyStopping", "ExponentialAverage", "clip_gradients",
    "make_schedule", "mix", "parameter_groups",
)  # fmt: skip


def imported_by(program: str) -> set[str]:
    """Modules in memory after a program has run in a fresh interpreter."""
    text = f"{program}\nimport sys\nprint(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split())


def test_the_package_does_not_import_it() -> None:
    assert not {name for name in imported_by("import npresnet") if name.startswith("npresnet.train")}


def test_what_acts_on_parameters_imports_little() -> None:
    modules = imported_by(f"from npresnet.train import {', '.join(OWN)}")
    assert "npresnet.train.optimizers.sgd" in modules
    assert not modules & set(HEAVY)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(AttributeError, match=r"module 'npresnet\.train' has no attribute 'SGDW'"):
        _ = npresnet.train.SGDW
