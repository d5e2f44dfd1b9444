"""What a training step has left behind, in a ``.npz`` file: loss, gradients, weights and statistics.

Its arrays are ``loss``, ``gradient_norm`` (of all gradients together, a number), and those of the network after the
step under the names that they have in Transformers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .learners import Learner

NUMBERS = ("loss", "gradient_norm")


def take_step(learner: Learner) -> dict[str, NDArray[Any]]:
    """Let a learner take a step, and return what is left."""
    loss = learner.step()
    norms = [float(np.linalg.norm(gradient.astype(np.float64))) for gradient in learner.gradients()]
    return {"loss": np.array(loss), "gradient_norm": np.array(math.hypot(*norms)), **learner.state()}


def save(path: str | os.PathLike[str], outcome: Mapping[str, NDArray[Any]]) -> None:
    """Write a file; no array is copied, so that the memory of a contestant is that of its step."""
    np.savez(path, **outcome)  # type: ignore[arg-type]
