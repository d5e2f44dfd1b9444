"""Turn one kind of checkpoint into another, with configuration, labels and preprocessing inside."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from npresnet.config import ResNetConfig

DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` found and wrote.

    Parameters
    ----------
    target : Path
        The file or directory written.
    naming : str
        How the arrays of the source were named; one of ``npresnet.checkpoint.NAMINGS``.
    config : ResNetConfig
        The configuration written.
    preprocessing : dict
        The preprocessing written, in the form of a ``preprocessor_config.json``.
    parameters : int
        Learnable values.
    """

    target: Path
    naming: str
    config: ResNetConfig
    preprocessing: dict[str, Any]
    parameters: int


def suffix_of(target: str | os.PathLike[str]) -> str:
    """The key of :data:`npresnet.checkpoint.writer.SAVERS` that a path asks for; of a directory it is empty.

    Raises
    ------
    ValueError
        If the suffix is another one.
    """
    from npresnet.checkpoint.writer import SAVERS

    path = Path(target)
    if path.is_dir() or os.fspath(target).endswith(("/", os.sep)):
        return ""
    if path.suffix.lower() not in SAVERS:
        raise ValueError(
            f"{path}: cannot write a {path.suffix} file; expected .npz, .safetensors, or a directory (no suffix) in "
            "the layout of Transformers"
        )
    return path.suffix.lower()


def check_target(target: str | os.PathLike[str], force: bool) -> Path:
    """Return the path to write, if its format is known and nothing of value is in the way.

    Raises
    ------
    FileExistsError
        If it exists (a directory: if it is not empty) and ``force`` is false.
    """
    path = Path(target)
    suffix_of(target)
    occupied = any(path.iterdir()) if path.is_dir() else path.exists()
    if occupied and not force:
        raise FileExistsError(errno.EEXIST, "exists already; --force (or force=True) replaces it", str(path))
    return path


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    config: ResNetConfig | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    force: bool = False,
    **overrides: Any,
) -> Conversion:
    """Convert a checkpoint.

    Parameters
    ----------
    source : path
        Any checkpoint that :func:`npresnet.checkpoint.read` reads.
    target : path
        ``.npz``, ``.safetensors``, or a directory in the layout of Transformers; directories above it are made.
    dtype : {"float32", "float16"}
        Type of the floating-point arrays written; counters stay integers.
    config : ResNetConfig, optional
        Replaces the configuration of the source, whose arrays must fit it.
    preprocessing : mapping, optional
        Replaces the preprocessing of the source, in the form of a ``preprocessor_config.json``. A source that says
        nothing gets the usual one of the framework that named its arrays.
    force : bool
        Replace what exists.
    **overrides
        Fields of :class:`~npresnet.config.ResNetConfig` to change, such as ``output_stride=8``; ``num_channels``
        adapts the first convolution and the preprocessing.

    Raises
    ------
    CheckpointError
        If the source cannot be read or its arrays do not fit the configuration.
    ValueError
        If an override is unknown or contradicts another field.
    FileExistsError
        If the target exists and ``force`` is false.
    """
    from npresnet import checkpoint
    from npresnet.checkpoint.adapt import describe_differences
    from npresnet.checkpoint.architecture import default_preprocessing, expected_shapes, with_input_channels
    from npresnet.checkpoint.writer import SAVERS
    from npresnet.image import ImageProcessor

    path = check_target(target, force)
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, found {dtype!r}")
    found = checkpoint.read(source)
    config = (config or found.config).replace(**overrides)
    expected = expected_shapes(config)
    arrays = with_input_channels(found.arrays, config.num_channels)
    shapes = {name: array.shape for name, array in arrays.items()}
    differences = describe_differences(expected, shapes)
    if differences:
        raise checkpoint.CheckpointError(
            f"{source}: the arrays do not fit the configuration: " + "; ".join(differences)
        )
    processor = ImageProcessor.from_dict(
        preprocessing or found.preprocessing or default_preprocessing(found.naming, config)
    ).for_channels(config.num_channels)
    arrays = {name: _cast(name, array, dtype) for name, array in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    SAVERS[suffix_of(target)](path, arrays, config, processor.to_dict())
    return Conversion(path, found.naming, config, processor.to_dict(), count_parameters(shapes))


def count_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Learnable values among arrays with these names and shapes."""
    return sum(math.prod(shape) for name, shape in shapes.items() if name.endswith((".weight", ".bias")))


def _cast(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    import numpy as np

    if array.dtype.kind != "f":
        return array
    largest = float(np.abs(array).max(initial=0))
    if largest > float(np.finfo(dtype).max) and np.isfinite(largest):
        raise ValueError(f"{name} holds values up to {largest:.6g}, more than {dtype} can; use float32")
    return array.astype(dtype)
