"""PyTorch's zip format (the default since PyTorch 1.6): a pickle that describes tensors, and a record per storage."""

from __future__ import annotations

from typing import Any

import numpy as np

from .archive import ZipRecords
from .errors import CheckpointError
from .torch_globals import StorageType
from .torch_pickle import load_pickle
from .torch_tensors import ByteOrder, Storage, materialise
from .wrappers import find_state_dict


def is_torch_zip(archive: ZipRecords) -> bool:
    """Whether the archive has the record that opens every PyTorch file."""
    return any(name.count("/") == 1 and name.endswith("/data.pkl") for name in archive.names)


def read_torch_zip(archive: ZipRecords) -> dict[str, np.ndarray]:
    """Return the arrays of the state dict in a PyTorch zip file.

    Parameters
    ----------
    archive : ZipRecords

    Returns
    -------
    dict of str to ndarray
        Views of the file where the layout allows.

    Raises
    ------
    CheckpointError
        If the file is TorchScript, holds more than arrays, or is damaged or forged.
    """
    root = archive.names[0].split("/")[0]
    strangers = [name for name in archive.names if not name.startswith(f"{root}/")]
    if strangers:
        raise CheckpointError(f"a PyTorch file has one top folder, found {root!r} and the record {strangers[0]!r}")
    if f"{root}/constants.pkl" in archive:
        raise CheckpointError(
            "the file is a TorchScript program (torch.jit.save), which holds code; "
            "save the state dict of the model instead: torch.save(model.state_dict(), 'weights.pth')"
        )
    # torch.serialization.set_crc32_options(False) leaves every checksum zero
    check_crc = archive.crc(f"{root}/data.pkl") != 0
    tree, _ = load_pickle(archive.read(f"{root}/data.pkl", check_crc), persistent_load=_storage)
    contents: dict[str, memoryview] = {}  # each storage is read once, however many tensors share it

    def content_of(storage: Storage) -> memoryview:
        if storage.key not in contents:
            contents[storage.key] = archive.read(f"{root}/data/{storage.key}", check_crc)
        return contents[storage.key]

    byteorder: ByteOrder = "<"
    if f"{root}/byteorder" in archive:
        word = bytes(archive.read(f"{root}/byteorder", check_crc))
        if word not in (b"little", b"big"):
            raise CheckpointError(f"the record 'byteorder' must say little or big, found {word[:20]!r}")
        byteorder = "<" if word == b"little" else ">"
    return materialise(find_state_dict(tree), content_of, len(archive.data), byteorder)


def _storage(saved_id: Any) -> Storage:
    """Read a persistent id: ``("storage", type, key, location, number of elements)``."""
    if type(saved_id) is not tuple or len(saved_id) != 5 or saved_id[0] != "storage":
        raise CheckpointError("a persistent id of the pickle does not describe a storage; the file is forged")
    _, kind, key, _, numel = saved_id
    if type(kind) is not StorageType:
        raise CheckpointError(f"a storage has no type but a {type(kind).__name__}; the file is damaged or forged")
    return Storage(key, kind.dtype, numel)
