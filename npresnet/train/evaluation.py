"""Evaluate a model on labelled images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

from ..resnet import ResNetForImageClassification
from .inference import make_inference
from .labels import match_classes
from .metrics import Evaluation, Metrics


def evaluate(
    model: ResNetForImageClassification | str | os.PathLike[str],
    data: Any,
    *,
    split: str = "test",
    batch_size: int = 64,
    workers: int | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure top-1 and top-5 accuracy, loss, the accuracy of every class, confusion and calibration.

    Parameters
    ----------
    model : ResNetForImageClassification or path
        A model, or a checkpoint of any kind that :func:`npresnet.load` reads.
    data : Dataset or path
        Images and labels; a path is opened by :func:`npresnet.train.open_dataset`. Classes are matched by name: a data
        set may hold some of the model's classes, in any order.
    split : str
        Which part of the data a path stands for.
    batch_size : int
        Images at a time.
    workers : int, optional
        Threads that prepare images.
    advance : callable, optional
        Called after every batch with the number of images that are done, and of all.

    Returns
    -------
    Evaluation
        Print it for a table; :func:`npresnet.train.save_evaluation` writes CSV files and pictures.

    Raises
    ------
    ValueError
        If there are no images, the classes do not fit the model's, or the model returns numbers that are not finite.
    DatasetError
        If an image cannot be read; the message names it.

    Examples
    --------
    >>> evaluate("runs/first/best.npz", "cifar-10-python.tar.gz").top1
    0.9214
    """
    from .data import Loader

    weights = "" if isinstance(model, ResNetForImageClassification) else str(model)
    if not isinstance(model, ResNetForImageClassification):
        from ..zoo import load

        model = load(model)
    count = model.config.num_labels
    if count < 2:
        raise ValueError(f"an evaluation needs a classifier of at least 2 classes, found num_labels={count}")
    if isinstance(data, (str, os.PathLike)):
        from .data import open_dataset

        data = open_dataset(data, split)
    if not len(data):
        raise ValueError(f"{data.name}: there are no images to evaluate")
    numbers = match_classes(data, model)
    metrics = Metrics(count)
    infer = make_inference(model)
    loader = Loader.for_evaluation(data, min(batch_size, len(data)), model.processor, workers=workers)
    with ExitStack() as stack:
        batches = stack.enter_context(closing(loader.epoch(0)))  # type: ignore[type-var]  # a generator
        for batch in batches:
            metrics.update(infer(batch.pixel_values), numbers[batch.labels])
            if advance is not None:
                advance(metrics.images, len(data))
    if not math.isfinite(metrics.loss):
        raise ValueError("the model returns numbers that are not finite; its weights are damaged, or training diverged")
    labels = [model.config.id2label[number] for number in range(count)]
    return metrics.evaluation(labels, str(data.name), weights)
