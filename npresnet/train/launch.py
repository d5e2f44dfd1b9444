"""From a recipe, or the directory of a run, to a trainer with model and data: what the command line does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config import preset
from ..image import ImageProcessor
from ..manifest import MANIFEST
from ..resnet import ResNetForImageClassification
from ..zoo import load
from .data import Dataset, dataset_splits, open_dataset, split_dataset
from .recipe import DataRecipe, ModelRecipe, Recipe, RecipeError
from .recipe_files import read_recipe
from .resuming import FREE_TO_CHANGE
from .rundir import LAST, RECIPE
from .state import load_state
from .trainer import Trainer

HELD_OUT = 0.1
"""Part of the images that validate, where the data have none for that and the recipe does not say."""


@dataclass(frozen=True)
class Data:
    """Images to learn from, to choose the best epoch by (or None), and, untouched by both, to test with (or None)."""

    train: Dataset
    validation: Dataset | None
    test: Dataset | None


def open_data(recipe: DataRecipe, seed: int) -> Data:
    """Open the data set of a recipe, and its validation data.

    Parameters
    ----------
    recipe : DataRecipe
    seed : int
        Which images are held out.

    Raises
    ------
    RecipeError
        If the recipe has no path.
    DatasetError
        If there is no data set, or it lacks the split that is asked for.
    """
    if recipe.path is None:
        raise RecipeError("no data: give data.path in the recipe, or --data on the command line")
    splits = dataset_splits(recipe.path)
    train = open_dataset(recipe.path, "train")
    wanted = recipe.validation
    if wanted == "auto":
        wanted = "val" if "val" in splits else HELD_OUT
    validation: Dataset | None = None
    if isinstance(wanted, float):
        train, validation = split_dataset(train, wanted, seed)
    elif wanted != "none":
        validation = _validation(recipe.path, wanted)
    test = open_dataset(recipe.path, "test") if "test" in splits and wanted != "test" else None
    return Data(train, validation, test)


def _validation(path: str, wanted: str) -> Dataset:
    """A split of the data, or a data set of its own."""
    if not Path(wanted).exists():
        return open_dataset(path, wanted)
    own = dataset_splits(wanted)
    return open_dataset(wanted, next((split for split in ("val", "test", "all") if split in own), "train"))


def build_model(recipe: ModelRecipe, dataset: Dataset, seed: int) -> ResNetForImageClassification:
    """Return the network of a recipe, for the classes and channels of a data set.

    Parameters
    ----------
    recipe : ModelRecipe
        With an architecture, or with weights: the path of a checkpoint, or the name of published ones, which are taken
        from the current directory or else fetched into it. Their classifier stays if it has the classes of the data.
    dataset : Dataset
    seed : int
        Of the weights that are new.

    Raises
    ------
    RecipeError
        If the recipe has neither or both, or its configuration does not fit.
    CheckpointError, DownloadError
        If the weights cannot be read or fetched.
    """
    names = tuple(map(str, dataset.class_names))
    labels = dict(enumerate(names))
    if (recipe.architecture is None) == (recipe.weights is None):
        found = "neither" if recipe.weights is None else "both"
        raise RecipeError(f"a recipe needs model.architecture or model.weights, found {found}; give one of the two")
    try:
        if recipe.architecture is not None:
            fields = {"num_channels": dataset.image(0).shape[2], "id2label": labels, **recipe.config}
            return ResNetForImageClassification(preset(recipe.architecture, **fields), seed=seed)
        assert recipe.weights is not None
        model = load(find_weights(recipe.weights), **recipe.config)
    except TypeError as error:
        raise RecipeError(f"model.config: {error}") from None
    model.rng = np.random.default_rng(seed)
    if model.config.id2label != labels:
        model.reset_classifier(len(names), id2label=labels)
    return model


def find_weights(name: str) -> Path:
    """Return the path of weights: a file, or published ones by name, which are fetched if they are not there yet."""
    path = Path(name)
    if path.exists() or name not in MANIFEST:
        return path
    path = Path(f"{name.replace('/', '-')}.npz")
    if path.exists():
        return path
    from ..fetching import fetch

    return fetch(name, path)


def new_run(
    recipe: Recipe, output_dir: str | os.PathLike[str] | None = None, *, progress: bool = True
) -> tuple[Trainer, Data]:
    """Prepare a training by a recipe alone.

    Parameters
    ----------
    recipe : Recipe
        With a data path, and an architecture or weights.
    output_dir : path, optional
        Where to keep the run.
    progress : bool
        Show how it goes.

    Returns
    -------
    Trainer
        To be started by ``fit()``.
    Data

    Raises
    ------
    RecipeError, DatasetError, CheckpointError, ValueError
        If anything in it cannot be used; nothing is written then.
    """
    data = open_data(recipe.data, recipe.run.seed)
    model = build_model(recipe.model, data.train, recipe.run.seed)
    return Trainer(model, data.train, data.validation, recipe, output_dir=output_dir, progress=progress), data


def resume_run(directory: str | os.PathLike[str], *, progress: bool = True, **changes: Any) -> tuple[Trainer, Data]:
    """Prepare to go on with the training in a directory.

    Parameters
    ----------
    directory : path
        Of the run, or its last.npz.
    progress : bool
        Show how it goes.
    **changes
        What may be changed: ``path``, of the data, ``workers``, ``save_minutes`` and ``checkpoint_activations``.

    Returns
    -------
    Trainer
        To be started by ``fit(resume=True)``.
    Data

    Raises
    ------
    FileNotFoundError, CheckpointError
        If there is no run, or it is damaged.
    ValueError
        If recipe.toml was changed since, or last.npz comes from another run.
    """
    directory = Path(directory)
    if directory.is_file() and directory.name == "last.npz":
        directory = directory.parent
    state = load_state(directory)
    recipe = Recipe.from_dict(state.recipe)
    _compare_with_file(recipe, directory)
    recipe = recipe.replace(**changes)
    data = open_data(recipe.data, recipe.run.seed)
    model = ResNetForImageClassification(state.config, _initialize=False)
    if state.preprocessing is not None:
        model.processor = ImageProcessor.from_dict(state.preprocessing)
    return Trainer(model, data.train, data.validation, recipe, output_dir=directory, progress=progress), data


def _compare_with_file(recipe: Recipe, directory: Path) -> None:
    """Raise if the recipe that people see is not the one in the state."""
    file = directory / RECIPE
    if not file.is_file():
        return
    different = {key: pair for key, pair in recipe.differences(read_recipe(file)).items() if key not in FREE_TO_CHANGE}
    if different:
        lines = [
            f"{key}: {inside!r} in the training, {outside!r} in the file"
            for key, (inside, outside) in different.items()
        ]
        raise ValueError(
            f"{file} does not describe the training in {directory / LAST}:\n  " + "\n  ".join(lines) + "\nA training "
            "goes on as it began: put the file back as it was, or begin a new run with it in another directory"
        )
