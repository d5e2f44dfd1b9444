"""The weights that ship with the package are as good as their model card says."""

from __future__ import annotations

import os
from pathlib import Path

import npresnet
from npresnet.zoo import default_weights

DATA = Path(os.environ["NPRESNET_DATA"]) / "data"
PHOTOGRAPHS = {
    "bird": (
        "brambling", "water_ouzel", "black_grouse", "lorikeet", "black_swan", "flamingo", "red-backed_sandpiper",
    ),
    "dog": (
        "Afghan_hound", "Irish_wolfhound", "American_Staffordshire_terrier", "Sealyham_terrier", "Tibetan_terrier",
        "German_short-haired_pointer", "Sussex_spaniel", "Shetland_sheepdog", "Appenzeller", "Siberian_husky", "chow",
    ),
    "frog": ("bullfrog",),
    "ship": ("container_ship", "schooner"),
}  # fmt: skip


def test_accuracy_on_the_test_pictures() -> None:
    found = npresnet.evaluate(default_weights(), DATA / "cifar10_jpeg.npz")
    assert abs(found.top1 - 0.8791) <= 0.0005  # processors round differently


def test_photographs() -> None:
    model = npresnet.load(default_weights())
    right = 0
    for label, names in PHOTOGRAPHS.items():
        for name in names:
            (file,) = (DATA / "imagenet_samples").glob(f"n*_{name}.JPEG")
            right += model.predict(file)[0].label == label
    assert right == 15


def test_it_is_small() -> None:
    assert default_weights().stat().st_size <= 5e6
