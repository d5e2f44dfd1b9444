"""NumPy's ``.npz``: a zip of ``.npy`` arrays; ours adds one JSON string. Pickled arrays are never read."""

from __future__ import annotations

import math
import re

import numpy as np

from ..kernels.parallel import map_each
from .archive import ZipRecords
from .errors import CheckpointError
from .limits import MAX_DIMENSIONS
from .mapped import release, take, unpack
from .metadata import KEY, RawCheckpoint, decode

NPY_START = b"\x93NUMPY"
_MAX_HEADER = 10_000  # bytes, the limit that NumPy applies only after reading the header
_HEADER = re.compile(  # NumPy evaluates it as a Python literal; plain arrays need only this
    r"\{'descr': '(?P<dtype>[<>|=]?[a-zA-Z][0-9]{0,8})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:[0-9]{1,18}, ?)*(?:[0-9]{1,18})?)\),? *\}\s*"
)


def is_npz(archive: ZipRecords) -> bool:
    """Whether every record is a ``.npy``."""
    return bool(archive.names) and all(name.endswith(".npy") for name in archive.names)


def read_npz(archive: ZipRecords) -> RawCheckpoint:
    """Read an ``.npz`` of :func:`~npresnet.checkpoint.writer.save_npz`, ``np.savez`` or ``np.savez_compressed``.

    Parameters
    ----------
    archive : ZipRecords

    Raises
    ------
    CheckpointError
        If an array is not a plain numeric one, or the file is damaged.
    """
    contents = map_each(archive.read, archive.names)  # side by side, for the sake of the checksums
    arrays = {
        name.removesuffix(".npy"): _read_npy(name, content)
        for name, content in zip(archive.names, contents, strict=True)
    }
    text = arrays.pop(KEY, None)
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise CheckpointError(f"array {name!r} has dtype {array.dtype}, expected float, integer or boolean")
    if text is None:
        return RawCheckpoint(arrays)
    if text.dtype.kind != "U" or text.shape != ():
        raise CheckpointError(f"the entry {KEY!r} must be one string, found {text.dtype} of shape {text.shape}")
    return RawCheckpoint(arrays, *decode(str(text)))


def _read_npy(name: str, content: memoryview) -> np.ndarray:
    """Return a C-contiguous array in native byte order, a view of ``content`` where the layout allows."""
    if bytes(content[:6]) != NPY_START:
        raise CheckpointError(f"record {name!r} is not a .npy array")
    major, minor = unpack("<2B", content, 6, name)
    if (major, minor) not in ((1, 0), (2, 0)):  # 3.0 exists for the field names of structured arrays only
        raise CheckpointError(f"record {name!r} has .npy version {major}.{minor}, expected 1.0 or 2.0")
    length_size = 2 if major == 1 else 4
    (length,) = unpack("<H" if major == 1 else "<I", content, 8, name)
    if length > _MAX_HEADER:
        raise CheckpointError(f"record {name!r} has a header of {length:,} bytes; at most {_MAX_HEADER:,} are read")
    header = bytes(take(content, 8 + length_size, length, name)).decode("latin-1")
    match = _HEADER.fullmatch(header)
    if match is None or match["shape"].count(",") > MAX_DIMENSIONS:
        raise CheckpointError(f"record {name!r} is not a plain array; its header starts {header[:60]!r}")
    dtype = np.dtype(match["dtype"])
    if dtype.hasobject:
        raise CheckpointError(f"array {name!r} holds pickled Python objects, which are never read; save plain arrays")
    shape = tuple(int(size) for size in re.findall("[0-9]+", match["shape"]))
    start = 8 + length_size + length
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        raise CheckpointError(
            f"array {name!r} of shape {shape} needs {expected:,} bytes, its record holds {len(content) - start:,}"
        )
    flat = np.frombuffer(content, dtype, offset=start) if expected else np.zeros(math.prod(shape), dtype)
    array = flat.reshape(shape, order="F" if match["fortran"] == "True" else "C")
    array = np.require(array, dtype.newbyteorder("="), ["C", "A"])
    if array.flags.owndata:  # a copy: not to be in memory twice
        release(content)
    return array
