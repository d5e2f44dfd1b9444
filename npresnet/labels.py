"""Names of the classes of ImageNet and CIFAR-10."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 classes of ILSVRC 2012 in the order of every published checkpoint; "crane" and "maillot" come twice."""
    text = resources.files("npresnet").joinpath("assets/imagenet_categories.json").read_text(encoding="utf-8")
    return tuple(json.loads(text))
