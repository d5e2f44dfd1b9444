"""A directory in the layout of Transformers (or of timm): weights, config.json, preprocessor_config.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError, blaming
from .limits import MAX_JSON
from .metadata import RawCheckpoint, parse_json

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
SAFETENSORS, TORCH_BIN = "model.safetensors", "pytorch_model.bin"
INDEX_SUFFIX = ".index.json"

_WEIGHTS = (SAFETENSORS, SAFETENSORS + INDEX_SUFFIX, TORCH_BIN, TORCH_BIN + INDEX_SUFFIX)  # in order of preference
_BEST_OF_RUN = "best.npz"  # in the directory of a training, beside the state to go on from
_SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".th", ".bin", ".tar", ".h5", ".hdf5")

ReadFile = Callable[[Path], RawCheckpoint]


def find_weights(directory: Path) -> Path:
    """Return the file of weights in a directory: with a name of Transformers, the best of a training, or the only one.

    Raises
    ------
    CheckpointError
        If there is none, or several with other names.
    """
    for name in (*_WEIGHTS, _BEST_OF_RUN):
        if (directory / name).is_file():
            return directory / name
    found = sorted(p for p in directory.iterdir() if p.suffix in _SUFFIXES and p.is_file())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(p.name for p in found[:8])
        raise CheckpointError(f"the directory holds {len(found)} files of weights ({names}); pass the path of one")
    raise CheckpointError(
        f"the directory holds no weights; expected {', '.join(_WEIGHTS)}, or one file *{', *'.join(_SUFFIXES)}"
    )


def read_index(index: Path, read_file: ReadFile) -> dict[str, np.ndarray]:
    """Read all shards that an ``*.index.json`` names.

    Parameters
    ----------
    index : Path
    read_file : callable
        Reads one shard.

    Raises
    ------
    CheckpointError
        If the index is malformed, names a file outside its directory, or disagrees with the keys of a shard.
    """
    weight_map = read_json(index).get("weight_map")
    if type(weight_map) is not dict or not weight_map or any(type(file) is not str for file in weight_map.values()):
        raise CheckpointError("the index must hold a weight_map from names of tensors to names of files")
    arrays: dict[str, np.ndarray] = {}
    for file in sorted(set(weight_map.values())):
        if not file or file != Path(file).name or "\\" in file or ":" in file or "\0" in file:
            raise CheckpointError(f"the index names {file[:120]!r}, which is not a file in its own directory")
        shard = index.parent / file
        if not shard.is_file():
            raise CheckpointError(f"the index names the file {file!r}, which is missing; download all shards")
        found = read_file(shard).arrays
        expected = {key for key, name in weight_map.items() if name == file}
        if found.keys() != expected:
            missing, extra = sorted(expected - found.keys()), sorted(found.keys() - expected)
            raise CheckpointError(
                f"the index and shard {file!r} disagree: the shard lacks {missing[:3]} and holds in excess {extra[:3]}"
            )
        arrays.update(found)
    return arrays


def neighbours(directory: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return configuration and preprocessing from the JSON files of a directory, None for each that is missing."""
    config = _optional_json(directory / CONFIG)
    preprocessing = _optional_json(directory / PREPROCESSOR)
    if config is not None and "model_type" not in config and "architecture" in config:
        return None, preprocessing or _timm_preprocessing(config)  # timm leaves the architecture to its name
    return config, preprocessing


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object."""
    with blaming(path):
        with open(path, "rb") as file:
            text = file.read(MAX_JSON + 1)
        return parse_json(text, "the file")


def _optional_json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def _timm_preprocessing(config: dict[str, Any]) -> dict[str, Any] | None:
    """Translate the ``pretrained_cfg`` of timm's config.json; the names of its fields are timm's."""
    from ..image import ImageProcessor

    values = config.get("pretrained_cfg")
    if type(values) is not dict or not {"input_size", "crop_pct", "interpolation", "mean", "std"} <= values.keys():
        return None
    modes = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # PIL's numbers
    mode = values["interpolation"]
    if mode not in modes:
        raise CheckpointError(f"config.json asks for the interpolation {mode!r}, expected one of {', '.join(modes)}")
    processor = ImageProcessor.timm(
        values["input_size"][-1], values["crop_pct"],
        resample=modes[mode], image_mean=tuple(values["mean"]), image_std=tuple(values["std"]),
    )  # fmt: skip
    return processor.to_dict()
