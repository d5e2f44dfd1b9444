"""A network so small that tests can write, serve, convert and run it in no time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from npresnet import checkpoint
from npresnet.checkpoint.architecture import expected_shapes
from npresnet.cli import main
from npresnet.config import ResNetConfig
from npresnet.image import ImageProcessor

FIELDS: dict[str, Any] = {"layer_type": "basic", "embedding_size": 4, "hidden_sizes": (4, 8), "depths": (1, 1)}
LABELS = {0: "cat", 1: "dog", 2: 'résumé, "quoted"'}


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Random arrays under canonical names; variances are positive."""
    rng = np.random.default_rng(3)
    values: dict[str, np.ndarray] = {}
    for name, shape in expected_shapes(ResNetConfig(**{**FIELDS, **changes})).items():
        if name.endswith("tracked"):
            values[name] = np.array(5)
        else:
            low = 0.5 if name.endswith("var") else -0.5
            values[name] = rng.uniform(low, low + 1, shape).astype(np.float32)
    return values


def save(path: str) -> str:
    """Write a checkpoint with three labels, and return its path."""
    config = ResNetConfig(**FIELDS, id2label=LABELS)
    checkpoint.save_npz(path, arrays(num_labels=3), config, ImageProcessor.transformers(32).to_dict())
    return path


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Call the command line in this process; returns status, stdout and stderr."""
    status = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err
