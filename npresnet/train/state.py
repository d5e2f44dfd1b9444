"""All that a later step depends on, as one file: written completely or not at all, and read back to the last bit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.errors import CheckpointError, blaming
from ..checkpoint.metadata import parse_json
from ..checkpoint.reader import read_raw
from ..checkpoint.writer import save_npz
from ..config import ResNetConfig

Arrays = dict[str, NDArray[Any]]

FORMAT = 1
DOCUMENT = "training"
"""The array that holds everything but arrays: JSON, as bytes."""

GROUPS = ("model", "optimizer", "average", "stopping")
"""What arrays belong to; a name in the file is ``group/name``."""


@dataclass
class Position:
    """How far a training is, and what it has counted in the current epoch.

    Attributes
    ----------
    epoch : int
        Epochs that are done, with their validation.
    batch : int
        Batches of the current epoch that are done.
    step : int
        Steps of the optimiser since the beginning.
    loss, right, images : float, int, int
        Of the current epoch: sum of the losses of all images, images that were right, images.
    seconds, training_seconds : float
        Time spent on the current epoch, and on its steps.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss: float = 0.0
    right: int = 0
    images: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0

    def next_epoch(self) -> Position:
        """The beginning of the following epoch."""
        return Position(self.epoch + 1, 0, self.step)


@dataclass
class TrainingState:
    """Everything.

    Attributes
    ----------
    config : ResNetConfig
    preprocessing : dict or None
        Content of a ``preprocessor_config.json``.
    arrays : {"model": ..., "optimizer": ..., "average": ..., "stopping": ...}
        The state of each of them by name; empty for what is not used.
    recipe : dict
        Of :meth:`Recipe.to_dict`.
    position : Position
    history : dict
        Of :meth:`History.to_dict`.
    data : dict
        What tells data sets apart; see :func:`fingerprint`.
    versions : dict
        Of the packages that compute.
    """

    config: ResNetConfig
    preprocessing: dict[str, Any] | None
    arrays: dict[str, Arrays]
    recipe: dict[str, Any]
    position: Position
    history: dict[str, Any]
    data: dict[str, Any]
    versions: dict[str, str] = field(default_factory=lambda: versions())


def versions() -> dict[str, str]:
    """Return the versions of what results depend on."""
    from .. import __version__

    return {"npresnet": __version__, "numpy": np.__version__}


def fingerprint(dataset: Any) -> dict[str, Any]:
    """Return what tells a data set from another: its classes, and number and order of its labels."""
    import zlib

    labels = np.ascontiguousarray(dataset.labels, np.int64)
    names = list(map(str, dataset.class_names))
    return {"images": len(dataset), "classes": names, "labels": zlib.crc32(labels.tobytes())}


def save_state(path: str | os.PathLike[str], state: TrainingState) -> None:
    """Write a state as ``.npz``.

    Raises
    ------
    OSError
        If the disk is full or the file cannot be written; what was there stays.
    """
    document = {
        "format": FORMAT,
        "recipe": state.recipe,
        "position": vars(state.position),
        "history": state.history,
        "data": state.data,
        "versions": state.versions,
    }
    content = json.dumps(document).encode()
    arrays: Arrays = {DOCUMENT: np.frombuffer(content, np.uint8)}
    for group in GROUPS:
        arrays.update({f"{group}/{name}": array for name, array in state.arrays.get(group, {}).items()})
    save_npz(path, arrays, state.config, state.preprocessing)


def load_state(path: str | os.PathLike[str]) -> TrainingState:
    """Read a state of :func:`save_state`.

    Parameters
    ----------
    path : path
        The file, or the directory of a run.

    Raises
    ------
    CheckpointError
        If the file is damaged, or holds something other than the state of a training.
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / "last.npz").is_file():
            raise FileNotFoundError(f"{path} holds no last.npz, so there is no training to go on with")
        path = path / "last.npz"
    elif not path.exists():
        raise FileNotFoundError(f"there is no run at {path}; expected its directory, which holds last.npz")
    raw = read_raw(path)
    with blaming(path):
        if DOCUMENT not in raw.arrays or raw.config is None:
            raise CheckpointError(
                "this holds a model but not the state of a training; to go on with a training give its directory or "
                "its last.npz, to start a new one from these weights use --weights"
            )
        text = raw.arrays[DOCUMENT]
        if text.dtype != np.uint8 or text.ndim != 1:
            raise CheckpointError(f"{DOCUMENT!r} must be bytes, found {text.dtype} of shape {text.shape}")
        document = parse_json(text.tobytes(), f"the entry {DOCUMENT!r}")
        version = document.get("format")
        if version != FORMAT:
            raise CheckpointError(f"the state has format {version!r}, this npresnet reads {FORMAT}")
        arrays: dict[str, Arrays] = {group: {} for group in GROUPS}
        for name, array in raw.arrays.items():
            group, slash, own = name.partition("/")
            if slash and group in arrays:
                arrays[group][own] = array
            elif name != DOCUMENT:
                raise CheckpointError(f"array {name!r} belongs to no part of a training")
        return TrainingState(
            ResNetConfig.from_dict(raw.config), raw.preprocessing, arrays, _table(document, "recipe"),
            _position(_table(document, "position")), _table(document, "history"), _table(document, "data"),
            _table(document, "versions"),
        )  # fmt: skip


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise CheckpointError(f"{name!r} must be an object, found {type(value).__name__}")
    return value


def _position(values: dict[str, Any]) -> Position:
    position = Position(**values)
    for name, value in vars(position).items():
        is_count = type(getattr(Position, name)) is int
        if (type(value) is not int and (is_count or type(value) is not float)) or value < 0:
            raise CheckpointError(
                f"{name} of the position must be a {'count' if is_count else 'number'}, found {value!r}"
            )
    return position
