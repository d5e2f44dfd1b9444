"""PyTorch's format before 1.6 (also ``.th`` files): five pickles in a row, then the storages one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import CheckpointError
from .mapped import take, unpack
from .torch_globals import StorageType, not_only_arrays
from .torch_pickle import load_pickle
from .torch_tensors import Storage, materialise
from .wrappers import find_state_dict

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
START = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."
"""The first pickle, by which the format is known."""


def read_torch_legacy(data: memoryview) -> dict[str, np.ndarray]:
    """Return the arrays of the state dict in a PyTorch file from before 1.6.

    Parameters
    ----------
    data : memoryview
        The whole file.

    Raises
    ------
    CheckpointError
        If the file holds more than arrays, or is damaged or forged.
    """
    magic, position = load_pickle(data)
    protocol, position = load_pickle(data, position)
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise CheckpointError(f"expected protocol {_PROTOCOL} of the format before PyTorch 1.6, found another")
    _, position = load_pickle(data, position)  # the machine that wrote it; storages are little-endian all the same
    described: dict[str, Storage] = {}

    def storage(saved_id: Any) -> Storage:
        found = _storage(saved_id)
        known = described.setdefault(found.key, found)
        if (known.dtype, known.numel) != (found.dtype, found.numel):
            raise CheckpointError(f"storage {found.key} is described in two ways; the file is damaged or forged")
        return found

    tree, position = load_pickle(data, position, storage)
    keys, position = load_pickle(data, position)
    contents = _read_storages(data, position, keys, described)
    return materialise(find_state_dict(tree), lambda s: contents[s.key], len(data))


def _storage(saved_id: Any) -> Storage:
    """Read a persistent id: ``("storage", type, key, location, number of elements, view or None)``."""
    if type(saved_id) is tuple and saved_id and saved_id[0] == "module":
        raise CheckpointError(not_only_arrays("torch.nn.Module"))
    if type(saved_id) is not tuple or len(saved_id) != 6 or saved_id[0] != "storage":
        raise CheckpointError("a persistent id of the pickle does not describe a storage; the file is forged")
    _, kind, key, _, numel, view = saved_id
    if type(kind) is not StorageType:
        raise CheckpointError(f"a storage has no type but a {type(kind).__name__}; the file is damaged or forged")
    if view is None:
        return Storage(key, kind.dtype, numel)
    if type(view) is not tuple or len(view) != 3:
        raise CheckpointError(f"the view of storage {key} is malformed; the file is damaged or forged")
    return Storage(key, kind.dtype, numel, window=view[1:])


def _read_storages(data: memoryview, position: int, keys: Any, described: dict[str, Storage]) -> dict[str, memoryview]:
    """Cut the rest of the file: for each key an int64 number of elements, then the elements."""
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(described):
        raise CheckpointError("the list of storages does not match those that the tensors use; the file is damaged")
    contents = {}
    for key in keys:
        (numel,) = unpack("<q", data, position, f"the size of storage {key}")
        if numel != described[key].numel:
            raise CheckpointError(
                f"storage {key} has {numel:,} elements where its tensors expect {described[key].numel:,}; "
                "the file is damaged or forged"
            )
        contents[key] = take(data, position + 8, described[key].nbytes, f"storage {key}")
        position += 8 + described[key].nbytes
    if position != len(data):
        raise CheckpointError(f"{len(data) - position:,} bytes follow the last storage; the file is damaged")
    return contents
