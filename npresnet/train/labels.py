"""The classes of a data set and those of a model: whether they fit, and which is which."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..resnet import ResNetForImageClassification
from .metrics import check_labels

_NUMBERED = re.compile(r"LABEL_[0-9]+")


def check_classes(dataset: Any, model: ResNetForImageClassification, role: str) -> None:
    """Check before the first step that a model can learn, or be validated on, the classes of a data set.

    Raises
    ------
    ValueError
        If there are no images, a label is out of range, or the names of the classes are not the model's.
    """
    where = f"the {role} data ({getattr(dataset, 'name', 'unnamed')}): "
    labels, names = np.asarray(dataset.labels), tuple(map(str, dataset.class_names))
    if not len(dataset):
        raise ValueError(f"{where}there are no images")
    if len(labels) != len(dataset):
        raise ValueError(f"{where}{len(dataset)} images but {len(labels)} labels")
    count = model.config.num_labels
    if len(names) > count:
        raise ValueError(
            f"{where}{len(names)} classes, but the model has {count}; call model.reset_classifier({len(names)})"
        )
    check_labels(labels, count, where)
    own = _names(model)
    if own is None or _are_numbers(names) or names == own[: len(names)]:
        return
    place, (found, expected) = next(
        (n, pair) for n, pair in enumerate(zip(names, own, strict=False)) if len({*pair}) > 1
    )
    raise ValueError(
        f"{where}class {place} is {found!r}, but the model's is {expected!r}; give the model the classes of the data: "
        "model.reset_classifier(len(names), id2label=dict(enumerate(names)))"
    )


def name_classes(model: ResNetForImageClassification, dataset: Any) -> None:
    """Give a model whose classes have no names those of a data set, in place."""
    names = tuple(map(str, dataset.class_names))
    if _names(model) is None and not _are_numbers(names) and len(names) == model.config.num_labels:
        model.config = model.resnet.config = model.config.replace(id2label=dict(enumerate(names)))


def match_classes(dataset: Any, model: ResNetForImageClassification) -> NDArray[np.int64]:
    """Return the number that each class of a data set has in a model, by name where that is possible, (K,).

    Raises
    ------
    ValueError
        If they do not fit.
    """
    names, count = tuple(map(str, dataset.class_names)), model.config.num_labels
    own = _names(model)
    in_order = np.arange(len(names))
    where = f"{getattr(dataset, 'name', 'the data')}: "
    if own is not None and not _are_numbers(names) and names != own[: len(names)]:
        known = {_simple(name): number for number, name in reversed(list(enumerate(own)))}
        unknown = [name for name in names if _simple(name) not in known]
        if not unknown:
            return np.array([known[_simple(name)] for name in names], np.int64)
        if len(names) != count:
            raise ValueError(
                f"{where}the class {unknown[0]!r} is not one of the model's {count} ({_some(own)}), and there are "
                f"{len(names)} classes; evaluate a model that was trained on these classes"
            )
        warnings.warn(
            f"{where}the names of its classes ({_some(names)}) are not the model's ({_some(own)}); they are taken in "
            "order",
            stacklevel=3,
        )
    if len(names) > count:
        raise ValueError(f"{where}{len(names)} classes, but the model has {count}")
    return in_order


def _names(model: ResNetForImageClassification) -> tuple[str, ...] | None:
    """The names of a model's classes; None if nobody has named them."""
    labels: Mapping[int, str] = model.config.id2label
    names = tuple(labels[number] for number in range(model.config.num_labels))
    return None if all(_NUMBERED.fullmatch(name) for name in names) else names


def _are_numbers(names: Sequence[str]) -> bool:
    """Whether classes are called 0, 1, 2 ..., as those of arrays without names."""
    return all(name == str(number) for number, name in enumerate(names))


def _simple(name: str) -> str:
    return name.casefold().replace("_", " ").strip()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
