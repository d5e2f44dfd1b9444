"""NumPy's ``.npz``: a zip of ``.npy`` arrays; ours adds one JSON string. Pickled arrays are never read."""

from __future__ import annotations

import io

import numpy as np

from .archive import ZipRecords
from .errors import CheckpointError
from .mapped import take, unpack
from .metadata import KEY, RawCheckpoint, decode

NPY_START = b"\x93NUMPY"
_MAX_HEADER = 10_000  # bytes, the limit that NumPy applies only after reading the header


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
    arrays = {name.removesuffix(".npy"): _read_npy(name, archive.read(name)) for name in archive.names}
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
    header = io.BytesIO(take(content, 8, length_size + length, name))
    parse = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = parse(header, max_header_size=_MAX_HEADER)
    if dtype.hasobject:
        raise CheckpointError(f"array {name!r} holds pickled Python objects, which are never read; save plain arrays")
    flat = np.frombuffer(content, dtype, offset=8 + length_size + length)
    array = flat.reshape(shape, order="F" if fortran_order else "C")
    return np.require(array, dtype.newbyteorder("="), ["C", "A"])
