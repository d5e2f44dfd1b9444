"""Who takes part in training, and why somebody does not."""

from __future__ import annotations

from collections.abc import Sequence

from npresnet.config import ResNetConfig

from ..contestants import BASELINE, SEVERAL, Contestant, foreign_fields

CHECKPOINTING = Contestant("npresnet", "float32", "checkpoint_activations")
"""Most feature maps are computed twice instead of kept."""

CIFAR_FIELDS = ["stem_type='cifar'", "shortcut_type='zero_pad'"]
"""What Transformers does not know of the paper's networks for CIFAR, and :mod:`.torch_cifar` does."""


def list_contestants(config: ResNetConfig, peers: Sequence[str]) -> tuple[list[Contestant], list[str]]:
    """Return the contestants for a network, npresnet first, and notes about peers that do not have such a network."""
    contestants, notes = [BASELINE, CHECKPOINTING], []
    if "torch" in peers:
        fields = foreign_fields(config)
        if fields and not is_cifar(config):
            notes.append(f"torch is left out: the ResNet of Transformers has no {', '.join(fields)}")
        else:
            contestants += [Contestant("torch", "float32", way) for way in SEVERAL["torch"]]
    return contestants, notes


def is_cifar(config: ResNetConfig) -> bool:
    """Whether it is one of the paper's networks for CIFAR."""
    return foreign_fields(config) == CIFAR_FIELDS and config.layer_type == "basic" and config.hidden_act == "relu"
