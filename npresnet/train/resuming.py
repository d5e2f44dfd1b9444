"""Whether a saved state belongs to a training that is to go on with it: architecture, recipe, data and versions."""

from __future__ import annotations

import warnings
from typing import Any

from ..checkpoint.adapt import describe_differences
from ..kernels import active_backend
from ..resnet import ResNetForImageClassification
from .recipe import Recipe
from .state import versions

FREE_TO_CHANGE = ("data.path", "data.check", "data.workers", "run.save_minutes", "run.checkpoint_activations")
"""Keys of a recipe that have no influence on the result, and may differ when a training goes on."""


def compare_architecture(saved: dict[str, Any], model: ResNetForImageClassification, where: str) -> None:
    """Raise if the arrays of a state do not fit a model.

    Parameters
    ----------
    saved : dict of name to array
    model : ResNetForImageClassification
    where : str
        The file, for the message.

    Raises
    ------
    ValueError
        With the first differences.
    """
    expected = {name: array.shape for name, array in model._arrays().items()}
    differences = describe_differences(expected, {name: array.shape for name, array in saved.items()})
    kinds = {array.dtype for array in model._arrays().values()} ^ {array.dtype for array in saved.values()}
    if kinds and not differences:
        differences = [f"numbers of another kind: {', '.join(sorted(map(str, kinds)))}"]
    if differences:
        raise ValueError(
            f"{where} is of another architecture than the model that is to be trained:\n  "
            + "\n  ".join(differences)
            + "\nGo on with the architecture of the run, or begin a new run in another directory"
        )


def compare_recipes(saved: Recipe, wanted: Recipe, where: str) -> None:
    """Raise if two recipes would give different results.

    Raises
    ------
    ValueError
        With the keys that differ.
    """
    different = {key: pair for key, pair in saved.differences(wanted).items() if key not in FREE_TO_CHANGE}
    if different:
        lines = [f"{key}: {before!r} in the run, {now!r} now" for key, (before, now) in different.items()]
        raise ValueError(
            f"{where} was begun with another recipe:\n  " + "\n  ".join(lines) + "\nGo on with the recipe of the run, "
            "or begin a new run in another directory"
        )


def compare_data(saved: dict[str, Any], now: dict[str, Any], where: str) -> None:
    """Raise if the data sets, as :func:`.state.fingerprint` describes them, are not those that a run began with.

    Raises
    ------
    ValueError
        With the first difference.
    """
    for role in sorted(saved.keys() | now.keys()):
        if saved.get(role) == now.get(role):
            continue
        if role not in saved or role not in now:
            there = "with" if role in saved else "without"
            raise ValueError(f"{where} was begun {there} {role} data; go on with the same data")
        before, found = saved[role], now[role]
        what = next((key for key in ("images", "classes") if before.get(key) != found.get(key)), None)
        detail = f"{what} {found.get(what)}, expected {before.get(what)}" if what else "the images in another order"
        raise ValueError(f"{where} was begun with other {role} data: found {detail}; go on with the same data")


def own_versions() -> dict[str, str]:
    """Return the versions of what the bits of a result depend on."""
    return {**versions(), "backend": active_backend()}


def compare_versions(saved: dict[str, Any]) -> None:
    """Warn if the bits of a result may depend on where it was computed.

    Warns
    -----
    UserWarning
    """
    for what, version in own_versions().items():
        if saved.get(what) != version:
            warnings.warn(
                f"the run began with {what} {saved.get(what)}, this is {version}: results may differ from those of an "
                "uninterrupted run in their last bits",
                stacklevel=5,
            )
