"""The published CIFAR-10 ResNets: read without PyTorch, PyTorch's logits, and the expected accuracy."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from agreement import agree
from PIL import Image

import npresnet

DATA = Path(os.environ["NPRESNET_DATA"]) / "data"
FILES = {"resnet20": "resnet20-12fca82f.th", "resnet32": "resnet32-d509ac18.th"}

# Correct answers of PyTorch: on the 10,000 test pictures as JPEG, on the first 4,000 lossless training pictures.
ACCURACY = {"resnet20": (0.8103, 0.9980), "resnet32": (0.8256, 1.0)}


@lru_cache(maxsize=1)
def jpeg_test() -> tuple[list[np.ndarray], np.ndarray]:
    """Pixels (32, 32, 3) and labels of the test split."""
    with np.load(DATA / "cifar10_jpeg.npz") as file:
        content, offsets, labels = file["jpeg_test"].tobytes(), file["offsets_test"], file["labels_test"]
    files = (io.BytesIO(content[start:end]) for start, end in itertools.pairwise(offsets))
    return [np.asarray(Image.open(file).convert("RGB")) for file in files], labels


def logits_of(model: npresnet.ResNetForImageClassification, pictures: list[np.ndarray]) -> np.ndarray:
    """Logits of many pictures, batch by batch."""
    batches = [pictures[start : start + 250] for start in range(0, len(pictures), 250)]
    return np.concatenate([model(model.processor(batch)).logits for batch in batches])


@pytest.mark.parametrize("name", FILES)
def test_logits_and_accuracy_on_the_test_pictures(name: str) -> None:
    pictures, labels = jpeg_test()
    assert len(pictures) == 10_000
    model = npresnet.load(DATA / "checkpoints" / FILES[name])
    found = logits_of(model, pictures)
    expected = np.load(DATA / "checkpoints" / f"{name}_test_logits.npy")
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4
    agree("logits of published checkpoints", found, expected, 1e-5)
    accuracy = float((found.argmax(axis=1) == labels).mean())
    assert round(accuracy, 4) == ACCURACY[name][0]
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("name", FILES)
def test_accuracy_on_lossless_pictures(name: str) -> None:
    with np.load(DATA / "cifar10_lossless_train4000.npz") as file:
        pictures, labels = file["x"], file["y"]
    assert pictures.shape == (4000, 32, 32, 3)
    model = getattr(npresnet, name.replace("resnet", "ResNet")).load(DATA / "checkpoints" / FILES[name])
    accuracy = float((logits_of(model, list(pictures)).argmax(axis=1) == labels).mean())
    assert round(accuracy, 4) == ACCURACY[name][1]


def test_predictions_have_cifars_names() -> None:
    pictures, labels = jpeg_test()
    with np.load(DATA / "cifar10_jpeg.npz") as file:
        names = file["class_names"].tolist()
    model = npresnet.load(DATA / "checkpoints" / FILES["resnet32"])
    assert list(model.config.id2label.values()) == names
    ranked = model.predict(pictures[:100], top_k=1)
    right = sum(best[0].label == names[label] for best, label in zip(ranked, labels, strict=False))
    assert right >= 75


@pytest.mark.parametrize("name", FILES)
def test_no_pytorch_is_needed(name: str) -> None:
    code = (
        "import sys, numpy as np, npresnet\n"
        "npresnet.load(sys.argv[1]).predict(np.zeros((32, 32, 3), np.uint8))\n"
        "print([m for m in ('torch', 'transformers', 'tensorflow') if m in sys.modules])\n"
    )
    command = [sys.executable, "-c", code, str(DATA / "checkpoints" / FILES[name])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"
