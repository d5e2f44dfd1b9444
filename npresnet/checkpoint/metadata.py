"""What a checkpoint file can hold beside its arrays: configuration and preprocessing, as one JSON string."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import CheckpointError
from .limits import MAX_JSON

KEY = "__npresnet__"
"""Name of the JSON string: an array of an ``.npz``, an entry of the metadata of a ``.safetensors``."""

_FORMAT = 1


@dataclass(frozen=True)
class RawCheckpoint:
    """The content of a checkpoint, under the names it was saved with.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Possibly read-only and possibly views of the file; the prefixes of trainers are removed from the names.
    config : dict or None
        For :meth:`npresnet.config.ResNetConfig.from_dict`; None if the file has no configuration.
    preprocessing : dict or None
        Content of a ``preprocessor_config.json``; None if the file has none.
    """

    arrays: dict[str, np.ndarray]
    config: dict[str, Any] | None = None
    preprocessing: dict[str, Any] | None = None


def encode(config: Mapping[str, Any], preprocessing: Mapping[str, Any] | None) -> str:
    """Return the JSON string that :func:`decode` reads."""
    return json.dumps({"format": _FORMAT, "config": config, "preprocessing": preprocessing})


def decode(text: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return configuration and preprocessing from the JSON string.

    Raises
    ------
    CheckpointError
        If it is malformed, or written by a later version.
    """
    content = parse_json(text, f"the entry {KEY!r}")
    version = content.get("format")
    if type(version) is not int or version < 1:
        raise CheckpointError(f"the entry {KEY!r} must state its format, a positive integer")
    if version > _FORMAT:
        raise CheckpointError(f"the file has format {version}, this npresnet reads up to {_FORMAT}; upgrade npresnet")
    parts = []
    for part in ("config", "preprocessing"):
        value = content.get(part)
        if value is not None and type(value) is not dict:
            raise CheckpointError(f"{part!r} in the entry {KEY!r} must be an object, found a {type(value).__name__}")
        parts.append(value)
    return parts[0], parts[1]


def parse_json(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object; a key that appears twice is an error, since readers differ on which one counts."""
    if len(text) > MAX_JSON:
        raise CheckpointError(f"{what} is {len(text):,} bytes long; more than {MAX_JSON:,} are refused")
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} is not valid JSON: {error}") from error
    if type(content) is not dict:
        raise CheckpointError(f"{what} must be a JSON object, found a {type(content).__name__}")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"the key {name[:80]!r} appears twice")
        content[name] = value
    return content
