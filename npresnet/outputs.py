"""What the models return: dataclasses with the fields of Transformers' outputs, also usable as tuples and mappings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass
class ModelOutput:
    """Fields that are None do not count as items: ``output[0]`` is the first one that is there."""

    def to_tuple(self) -> tuple[Any, ...]:
        """All fields that are there, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def keys(self) -> list[str]:
        """Names of the fields that are there."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(f"{type(self).__name__} has no field {key!r} here; it has {self.keys()}")
            return getattr(self, key)
        return self.to_tuple()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


@dataclass
class BaseModelOutputWithPoolingAndNoAttention(ModelOutput):
    """Of :class:`~npresnet.ResNetModel`."""

    last_hidden_state: Array | None = None  # (N, C, H, W)
    pooler_output: Array | None = None  # (N, C, 1, 1)
    hidden_states: tuple[Array, ...] | None = None  # stem and every stage


@dataclass
class ImageClassifierOutputWithNoAttention(ModelOutput):
    """Of :class:`~npresnet.ResNetForImageClassification`."""

    loss: float | None = None
    logits: Array | None = None  # (N, num_labels)
    hidden_states: tuple[Array, ...] | None = None  # stem and every stage


@dataclass
class BackboneOutput(ModelOutput):
    """Of :class:`~npresnet.ResNetBackbone`."""

    feature_maps: tuple[Array, ...] | None = None  # those of config.out_features
    hidden_states: tuple[Array, ...] | None = None  # stem and every stage


class Prediction(NamedTuple):
    """One class of a ranked list."""

    index: int  # type: ignore[assignment]  # tuple.index is shadowed on purpose
    label: str
    score: float
