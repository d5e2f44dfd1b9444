"""Read a checkpoint of any known format: the format is told by content, never by the name of the file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import ResNetConfig
from ..kernels.parallel import map_each
from .adapt import describe_differences
from .architecture import HEAD, expected_shapes, identify
from .archive import ZipRecords
from .directory import INDEX_SUFFIX, SAFETENSORS, TORCH_BIN, find_weights, neighbours, read_index
from .errors import CheckpointError, blaming
from .keras import HDF5_START, read_keras
from .mapped import map_file, release
from .metadata import RawCheckpoint
from .names import to_canonical
from .npz import NPY_START, is_npz, read_npz
from .safetensors_file import is_safetensors, read_safetensors
from .torch_legacy import START as LEGACY_START
from .torch_legacy import read_torch_legacy
from .torch_tar import is_torch_tar, read_torch_tar
from .torch_zip import is_torch_zip, read_torch_zip
from .wrappers import strip_prefixes

ZIP_START = b"PK\3\4"
_CHUNK = 2**18  # values that are checked at a time, so that the check takes no memory to speak of

# Openings of files that are often mistaken for a checkpoint, and what to do.
_NOT_A_CHECKPOINT = {
    b"version https://git-lfs": "this is a pointer of Git LFS, not the file itself; run: git lfs pull",
    b"<!DOCTYPE": "this is a web page, not a checkpoint; the download went wrong",
    b"<!doctype": "this is a web page, not a checkpoint; the download went wrong",
    b"<html": "this is a web page, not a checkpoint; the download went wrong",
    NPY_START: "a single .npy array is no checkpoint; save all arrays by name: np.savez(path, **arrays)",
    b"\x1f\x8b": "this is a gzip archive; unpack it first",
    b"\x80": "this is a plain Python pickle, which is never read, since unpickling can run any code; "
    "save the arrays with np.savez(path, **arrays) or torch.save(state_dict, path)",
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A ResNet checkpoint, understood.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Under Transformers' names; floating point as stored (bfloat16 as float32), possibly read-only, all finite.
    naming : str
        How they were named in the file; one of :data:`npresnet.checkpoint.NAMINGS`.
    config : ResNetConfig
        From the file if it holds one, else found from the names and shapes.
    preprocessing : dict or None
        Content of a ``preprocessor_config.json``; None if the file has none.
    """

    arrays: dict[str, np.ndarray]
    naming: str
    config: ResNetConfig
    preprocessing: dict[str, Any] | None


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and recognise its network.

    Parameters
    ----------
    path : path
        A file, or a directory in the layout of Transformers; see :func:`read_raw` for the formats.

    Raises
    ------
    CheckpointError
        If the content is damaged, hostile, not a ResNet, or holds NaN or infinity; the message names the file.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> read("resnet50-0676ba61.pth").config.depths  # doctest: +SKIP
    (3, 4, 6, 3)
    """
    raw = read_raw(path)
    with blaming(Path(path)):
        if raw.config is None:
            arrays, naming, config = identify(raw.arrays)
        else:
            arrays, naming = to_canonical(raw.arrays)
            config = _config(raw.config, arrays)
        _check_finite(arrays)
        return Checkpoint(arrays, naming, config, raw.preprocessing)


def read_raw(path: str | os.PathLike[str]) -> RawCheckpoint:
    """Read the arrays of a checkpoint under the names it has, without PyTorch and without running anything in it.

    Formats: PyTorch (zip, the format before 1.6, the tar of 2017), safetensors, ``.npz``, Keras ``.h5``, and a
    directory of Transformers, sharded or not. Dictionaries that trainers wrap around a state dict, and the prefixes
    ``module.`` and ``_orig_mod.``, are removed; averaged weights (EMA) go before the raw ones.

    Parameters
    ----------
    path : path
        A file, a directory, or a ``*.index.json``.

    Returns
    -------
    RawCheckpoint
        Arrays are views of the file where its layout allows, so reading is fast and takes little memory.

    Raises
    ------
    CheckpointError
        If the content is damaged, hostile or in no known format; the message names the file.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    with blaming(path):
        if path.is_dir():
            config, preprocessing = neighbours(path)
            weights = find_weights(path)
        elif path.is_file():
            beside = path.name.startswith((SAFETENSORS, TORCH_BIN))  # as Transformers names them
            config, preprocessing = neighbours(path.parent) if beside else (None, None)
            weights = path
        elif path.exists():
            raise CheckpointError("this is neither a file nor a directory")
        else:
            raise FileNotFoundError(f"no checkpoint at {path}; check the path, or fetch one: npresnet fetch resnet50")
        if weights.name.endswith(INDEX_SUFFIX):
            with blaming(weights):
                raw = RawCheckpoint(read_index(weights, _read_file))
        else:
            raw = _read_file(weights)
        raw = replace(raw, arrays=strip_prefixes(raw.arrays))
    if raw.config is None:
        return RawCheckpoint(raw.arrays, config, raw.preprocessing or preprocessing)
    return raw


def _read_file(path: Path) -> RawCheckpoint:
    with blaming(path):
        data = map_file(path)
        start = bytes(data[:32])
        if start.startswith(ZIP_START):
            return _read_zip(ZipRecords(data))
        if start.startswith(LEGACY_START):
            return RawCheckpoint(read_torch_legacy(data))
        if start.startswith(HDF5_START):
            return RawCheckpoint(read_keras(path))
        if is_safetensors(data):
            return read_safetensors(data)
        if is_torch_tar(data):
            return RawCheckpoint(read_torch_tar(data))
        for opening, message in _NOT_A_CHECKPOINT.items():
            if start.lstrip().startswith(opening):
                raise CheckpointError(message)
        raise CheckpointError(
            f"the format is not known: the file starts with {start[:8]!r}; expected PyTorch (.pth, .bin, .th), "
            "safetensors, .npz or Keras .h5"
        )


def _read_zip(archive: ZipRecords) -> RawCheckpoint:
    if is_torch_zip(archive):
        return RawCheckpoint(read_torch_zip(archive))
    if is_npz(archive):
        return read_npz(archive)
    if "model.weights.h5" in archive:
        raise CheckpointError("this is a .keras archive; save the weights alone: model.save_weights('x.weights.h5')")
    raise CheckpointError(
        f"the zip archive is neither of PyTorch nor an .npz; it holds {', '.join(archive.names[:5]) or 'nothing'}"
    )


def _config(values: dict[str, Any], arrays: dict[str, np.ndarray]) -> ResNetConfig:
    """The configuration that a file holds, if its arrays fit it."""
    try:
        config = ResNetConfig.from_dict(values)
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"its configuration is not that of a ResNet: {error}") from error
    if HEAD not in arrays:
        config = config.replace(num_labels=0)  # weights of a ResNetModel or ResNetBackbone have no classifier
    differences = describe_differences(expected_shapes(config), {name: a.shape for name, a in arrays.items()})
    if differences:
        raise CheckpointError(
            "the arrays do not fit the configuration that comes with them:\n  " + "\n  ".join(differences)
        )
    return config


def _check_finite(arrays: dict[str, np.ndarray]) -> None:
    names = [name for name, array in arrays.items() if array.dtype.kind == "f"]
    counts = map_each(_count_infinite, [arrays[name] for name in names])
    bad = {name: count for name, count in zip(names, counts, strict=True) if count}
    if bad:
        name, count = next(iter(bad.items()))
        raise CheckpointError(
            f"{name} holds {count:,} values that are NaN or infinite ({len(bad)} arrays do); the training it comes "
            "from diverged, or the file is damaged"
        )


def _count_infinite(array: np.ndarray) -> int:
    """How many numbers are NaN or infinite."""
    flat = array.reshape(-1)
    chunks = (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))
    count = flat.size - sum(int(np.count_nonzero(np.isfinite(chunk))) for chunk in chunks)
    release(array)
    return count
