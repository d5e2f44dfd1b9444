"""PyTorch's first format (2016 to 2017): a tar of ``pickle``, ``tensors`` and ``storages``. Nothing is extracted."""

from __future__ import annotations

import tarfile
from typing import Any, cast

import numpy as np

from .errors import CheckpointError
from .limits import MAX_DIMENSIONS, check_members
from .mapped import take, unpack
from .torch_globals import StorageType, not_only_arrays
from .torch_pickle import load_pickle
from .torch_tensors import Storage, Tensor, materialise
from .wrappers import find_state_dict

_MEMBERS = {"pickle", "tensors", "storages"}


def is_torch_tar(data: memoryview) -> bool:
    """Whether the file opens like a tar."""
    return bytes(data[257:262]) == b"ustar"


def read_torch_tar(data: memoryview) -> dict[str, np.ndarray]:
    """Return the arrays of the state dict in a PyTorch file of 2016 or 2017.

    Parameters
    ----------
    data : memoryview
        The whole file.

    Raises
    ------
    CheckpointError
        If the tar is not one of PyTorch, holds more than arrays, or is damaged or forged.
    """
    members = _members(data)
    storages, contents = _read_storages(members["storages"])
    tensors = _read_tensors(members["tensors"], storages)

    def persistent_load(saved_id: Any) -> Any:
        if type(saved_id) is tuple:
            raise CheckpointError(not_only_arrays("torch.nn.Module"))
        key = int(saved_id) if type(saved_id) in (int, str) else None
        if key not in tensors and key not in storages:
            raise CheckpointError(f"the pickle refers to tensor {str(key)[:40]}, which the file does not hold")
        return tensors[key] if key in tensors else storages[key]

    tree, _ = load_pickle(members["pickle"], persistent_load=persistent_load)
    return materialise(find_state_dict(tree), lambda s: contents[s.key], len(data))


def _members(data: memoryview) -> dict[str, memoryview]:
    """Find the members; links, sparse files and unknown names are refused."""
    members: dict[str, memoryview] = {}
    with tarfile.open(fileobj=cast(Any, _Reader(data)), mode="r:") as tar:
        for entry in tar:
            if entry.name not in _MEMBERS | {"sys_info"} or entry.name in members:
                raise CheckpointError(f"a tar of PyTorch holds {sorted(_MEMBERS)} once each, found {entry.name[:80]!r}")
            if not entry.isreg() or entry.issparse():
                raise CheckpointError(f"member {entry.name!r} of the tar is not a plain file")
            members[entry.name] = take(data, entry.offset_data, entry.size, f"member {entry.name!r}")
    if not members.keys() >= _MEMBERS:
        raise CheckpointError(f"the tar is not a PyTorch checkpoint: {sorted(_MEMBERS - members.keys())} missing")
    return members


class _Reader:
    """Mapped memory as the file object that tarfile needs to find the headers."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._position = data, 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < 0:
            raise CheckpointError("a header of the tar points before its start; the file is forged")
        self._position = position

    def read(self, size: int) -> bytes:
        chunk = bytes(self._data[self._position : self._position + max(size, 0)])
        self._position += len(chunk)
        return chunk


def _read_storages(data: memoryview) -> tuple[dict[int, Storage], dict[str, memoryview]]:
    """Parse ``storages``: a count; for each a pickled (key, location, type), int64 size, elements; then the views."""
    count, position = load_pickle(data)
    storages: dict[int, Storage] = {}
    contents: dict[str, memoryview] = {}
    for _ in range(_checked_count("storages", count)):
        entry, position = load_pickle(data, position)
        if not _starts_with_ints(entry, 3, 1) or type(entry[2]) is not StorageType:
            raise CheckpointError("a storage of the tar is not described by (key, location, type)")
        (numel,) = unpack("<q", data, position, f"the size of storage {entry[0]}")
        storage = Storage(str(entry[0]), entry[2].dtype, numel)
        storages[entry[0]] = storage
        contents[storage.key] = take(data, position + 8, storage.nbytes, f"storage {entry[0]}")
        position += 8 + storage.nbytes
    views, _ = load_pickle(data, position)
    if type(views) is not list:
        raise CheckpointError("the storages of the tar do not end in a list of views")
    for view in views:
        if not _starts_with_ints(view, 4, 4) or view[1] not in storages:
            raise CheckpointError("a view of the tar is not described by (key, storage, offset, size)")
        root = storages[view[1]]
        offset = view[2] + root.window[0] if root.window else view[2]
        storages[view[0]] = Storage(root.key, root.dtype, root.numel, window=(offset, view[3]))
    return storages, contents


def _read_tensors(data: memoryview, storages: dict[int, Storage]) -> dict[int, Tensor]:
    """Parse ``tensors``: a count; per tensor a pickled (key, storage, type), dimensions, sizes, strides and offset."""
    count, position = load_pickle(data)
    tensors: dict[int, Tensor] = {}
    for _ in range(_checked_count("tensors", count)):
        entry, position = load_pickle(data, position)
        if not _starts_with_ints(entry, 3, 2) or entry[1] not in storages:
            raise CheckpointError("a tensor of the tar is not described by (key, storage, type)")
        ndim, _ = unpack("<2i", data, position, "a tensor")  # the second half is padding
        if not 0 <= ndim <= MAX_DIMENSIONS:
            raise CheckpointError(f"a tensor of the tar has {ndim} dimensions, at most {MAX_DIMENSIONS} are read")
        numbers = unpack(f"<{2 * ndim + 1}q", data, position + 8, "a tensor")
        position += 8 + 8 * len(numbers)
        storage = storages[entry[1]]
        tensors[entry[0]] = Tensor(storage, numbers[-1], numbers[:ndim], numbers[ndim:-1], storage.dtype)
    return tensors


def _starts_with_ints(entry: Any, size: int, ints: int) -> bool:
    """Whether a pickled entry is a tuple of ``size`` whose first ``ints`` values are integers."""
    return type(entry) is tuple and len(entry) == size and all(type(value) is int for value in entry[:ints])


def _checked_count(what: str, count: Any) -> int:
    if type(count) is not int or count < 0:
        raise CheckpointError(f"the number of {what} in the tar is not a number")
    check_members(what, count)
    return count
