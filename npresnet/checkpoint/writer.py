"""Write checkpoints: ``.npz``, safetensors and directories of Transformers, each of them whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import struct
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ..config import ResNetConfig
from .atomic import atomic_write, sync, temporary_neighbour
from .directory import CONFIG, PREPROCESSOR, SAFETENSORS
from .errors import CheckpointError
from .metadata import KEY, encode

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that equal content gives equal bytes
_ALIGNMENT = 64  # bytes, a cache line: whoever maps the file can use its arrays where they lie
_PADDING = 0xD935  # the zip extra field that Android's zipalign writes: the alignment, then zeros

# Fields that change what a network computes and that Transformers' ResNet does not have.
_ONLY_HERE = (
    "stem_type", "stem_pool", "shortcut_type", "groups", "width_per_group", "output_stride", "global_pool",
    "batch_norm_eps",
)  # fmt: skip

Arrays = Mapping[str, np.ndarray]
Preprocessing = Mapping[str, Any] | None


def save_npz(
    path: str | os.PathLike[str], arrays: Arrays, config: ResNetConfig, preprocessing: Preprocessing = None
) -> None:
    """Write an uncompressed ``.npz``: the arrays by name, and one JSON string ``__npresnet__`` with the rest.

    The values of each array start at a multiple of 64 bytes in the file.

    Parameters
    ----------
    path : path
        Replaced atomically if it exists.
    arrays : mapping of str to ndarray
        Under canonical names; float, integer or boolean.
    config : ResNetConfig
    preprocessing : mapping, optional
        Content of a ``preprocessor_config.json``.

    Raises
    ------
    CheckpointError
        If an array has another dtype.
    FileNotFoundError
        If the directory to write to does not exist.
    """
    content = _checked(arrays)
    content[KEY] = np.array(encode(config.to_dict(), preprocessing))
    with (
        atomic_write(path) as temporary,
        open(temporary, "wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, array in content.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _LONG_AGO)
            entry.create_system = 3  # Unix, whatever the machine
            entry.external_attr = 0o644 << 16
            entry.extra = _padding(file.tell(), entry.filename)
            with archive.open(entry, "w", force_zip64=True) as record:
                np.lib.format.write_array(record, array, allow_pickle=False)


def save_safetensors(
    path: str | os.PathLike[str], arrays: Arrays, config: ResNetConfig, preprocessing: Preprocessing = None
) -> None:
    """Write a ``.safetensors`` file with configuration and preprocessing in its metadata.

    Parameters and errors are those of :func:`save_npz`.
    """
    with atomic_write(path) as temporary:
        _write_safetensors(temporary, _checked(arrays), {KEY: encode(config.to_dict(), preprocessing)})


def save_transformers(
    directory: str | os.PathLike[str], arrays: Arrays, config: ResNetConfig, preprocessing: Preprocessing = None
) -> None:
    """Write ``config.json``, ``preprocessor_config.json`` and ``model.safetensors`` as Transformers does.

    A new directory appears complete or not at all. In one that exists each file is replaced atomically, the weights
    last, and a ``preprocessor_config.json`` of an earlier checkpoint does not stay if there is none to replace it.

    Parameters are those of :func:`save_npz`. Counters that ``ResNetForImageClassification`` expects
    (``num_batches_tracked``) are added as zeros where they are missing.

    Warns
    -----
    UserWarning
        If the configuration needs fields that Transformers' ResNet does not have: npresnet reads them back,
        Transformers ignores them.

    Raises
    ------
    CheckpointError
        If an array has a dtype other than float, integer or boolean, or ``directory`` is a file.
    FileNotFoundError
        If the parent of ``directory`` does not exist.
    """
    content = _with_counters(_checked(arrays))
    foreign = [name for name in _ONLY_HERE if getattr(config, name) != getattr(ResNetConfig, name)]
    if foreign:
        values = ", ".join(f"{name}={getattr(config, name)!r}" for name in foreign)
        warnings.warn(
            f"Transformers' ResNet has no {values}: npresnet reads {directory} back, but Transformers would compute "
            "something else",
            stacklevel=2,
        )
    texts = {CONFIG: config.to_dict()}
    if preprocessing is not None:
        texts[PREPROCESSOR] = dict(preprocessing)
    target = Path(os.path.realpath(directory))
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{directory}: is a file; expected a directory, or a path that does not exist")
    if target.is_dir():
        _write_files(target, texts, content)
        if PREPROCESSOR not in texts:
            (target / PREPROCESSOR).unlink(missing_ok=True)
        return
    temporary = temporary_neighbour(target)
    temporary.mkdir()
    try:
        _write_files(temporary, texts, content)
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(target.parent)


def _padding(position: int, name: str) -> bytes:
    """Return an extra field that makes the content of a zip record at this position start at a multiple of 64 bytes.

    The header of a ``.npy`` is itself padded to such a multiple, so the values behind it are aligned too.
    """
    content = position + 30 + len(name.encode()) + 6 + 20  # fixed part, name, this field without zeros, zip64 field
    zeros = bytes(-content % _ALIGNMENT)
    return struct.pack("<3H", _PADDING, 2 + len(zeros), _ALIGNMENT) + zeros


def _write_files(directory: Path, texts: Mapping[str, Any], arrays: Arrays) -> None:
    """Write all files beside their targets, then let each take its place; the stack unwinds to the weights last."""
    with ExitStack() as stack:
        weights = stack.enter_context(atomic_write(directory / SAFETENSORS))
        _write_safetensors(weights, arrays, {})
        for name, values in texts.items():
            file = stack.enter_context(atomic_write(directory / name))
            file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _write_safetensors(path: Path, arrays: Arrays, metadata: dict[str, str]) -> None:
    from safetensors.numpy import save_file

    save_file(dict(arrays), path, {"format": "pt", **metadata})  # Transformers refuses files without a format


def _checked(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return C-contiguous arrays in native byte order, of dtypes that every format has."""
    checked = {}
    for name, array in arrays.items():
        array = np.asarray(array)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise CheckpointError(f"array {name!r} has dtype {array.dtype}, expected float, integer or boolean")
        if name == KEY:
            raise CheckpointError(f"no array can be named {KEY!r}; the name is kept for the configuration")
        checked[name] = np.require(array, array.dtype.newbyteorder("="), ["C"])
    return checked


def _with_counters(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    layers = [name.removesuffix("running_var") for name in arrays if name.endswith(".running_var")]
    return {f"{layer}num_batches_tracked": np.array(0, np.int64) for layer in layers} | arrays


SAVERS = {".npz": save_npz, ".safetensors": save_safetensors, "": save_transformers}
"""The function that writes a file of this suffix; a path without one is a directory as Transformers writes it."""
