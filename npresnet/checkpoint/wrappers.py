"""What trainers wrap around a state dict: outer dictionaries, and prefixes of the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import CheckpointError
from .torch_tensors import Tensor

WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "net", "weights")
"""Keys under which a state dict is found, in order of preference: averaged weights first (timm, torchvision)."""

PREFIXES = ("module.", "_orig_mod.")
"""Added to every name by DataParallel and AveragedModel, and by torch.compile."""

_COUNTER = "n_averaged"  # torch.optim.swa_utils.AveragedModel counts here; it is no part of the model

T = TypeVar("T")


def find_state_dict(tree: Any) -> dict[str, Tensor]:
    """Return the tensors of the state dict inside an unpickled checkpoint; scores, arguments and optimizers are left.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    found = _search(tree, set())
    if found:
        return found
    keys = f"the keys {[str(key)[:40] for key in list(tree)[:10]]}" if type(tree) is dict else "no dictionary"
    raise CheckpointError(
        f"no state dict was found: expected a dictionary of names and tensors, bare or under one of "
        f"{', '.join(WRAPPERS)}; found {keys}"
    )


def _search(node: Any, visited: set[int]) -> dict[str, Tensor]:
    if type(node) is not dict or id(node) in visited:  # a pickle can hold itself
        return {}
    visited.add(id(node))
    for key in WRAPPERS:
        found = _search(node.get(key), visited)
        if found:
            return found
    return {k: v for k, v in node.items() if type(k) is str and type(v) is Tensor}


def strip_prefixes(arrays: Mapping[str, T]) -> dict[str, T]:
    """Remove :data:`PREFIXES`, however nested, from the start of every name.

    Raises
    ------
    CheckpointError
        If two names become one.
    """
    stripped: dict[str, T] = {}
    for name, value in arrays.items():
        short = name
        while short.startswith(PREFIXES):
            short = short.partition(".")[2]
        if short in stripped:
            raise CheckpointError(f"two arrays are named {short!r} once the prefix of {name!r} is removed")
        if short != _COUNTER:
            stripped[short] = value
    return stripped
