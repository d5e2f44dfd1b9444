"""Setting some images aside."""

from __future__ import annotations

import numpy as np

from ..augment.draws import shuffled
from .dataset import Dataset, Subset
from .errors import DatasetError


def split_dataset(dataset: Dataset, fraction: float, seed: int = 0) -> tuple[Subset, Subset]:
    """Divide a data set in two, every class in the same proportion.

    Parameters
    ----------
    dataset : Dataset
    fraction : float
        What part of each class goes into the second data set, rounded to whole images, but at least one and not all of
        them. A class of a single image stays in the first.
    seed : int
        Which images; the choice depends on nothing else.

    Returns
    -------
    rest, held_out : Subset
        In the order of the data set.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1.
    DatasetError
        If no class has two images.

    Examples
    --------
    >>> train, validation = split_dataset(dataset, 0.1, seed=0)
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, found {fraction}")
    order = shuffled(seed, 0, len(dataset))
    held_out = np.zeros(len(dataset), bool)
    for number in range(len(dataset.class_names)):
        members = order[dataset.labels[order] == number]
        if len(members) > 1:
            held_out[members[: min(max(1, round(fraction * len(members))), len(members) - 1)]] = True
    if not held_out.any():
        raise DatasetError(f"{dataset.name} cannot be divided: no class has two images")
    return Subset(dataset, np.flatnonzero(~held_out)), Subset(dataset, np.flatnonzero(held_out))
