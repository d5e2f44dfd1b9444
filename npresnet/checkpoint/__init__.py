"""Checkpoints: read any published ResNet without PyTorch, write ``.npz``, safetensors and Transformers directories.

:func:`read` understands a checkpoint, :func:`read_raw` only opens it. Reading never runs what a file asks for: the
pickle language of PyTorch is interpreted by a small machine of our own (:mod:`.torch_pickle`), and every size in a file
is checked before it is believed. Every fault of a file is a :class:`CheckpointError` that names it.
"""

from .architecture import infer_config
from .errors import CheckpointError
from .metadata import RawCheckpoint
from .names import NAMINGS, from_canonical, to_canonical
from .reader import Checkpoint, read, read_raw
from .writer import save_npz, save_safetensors, save_transformers

__all__ = [
    "NAMINGS",
    "Checkpoint",
    "CheckpointError",
    "RawCheckpoint",
    "from_canonical",
    "infer_config",
    "read",
    "read_raw",
    "save_npz",
    "save_safetensors",
    "save_transformers",
    "to_canonical",
]
