"""Networks small enough for every test, with random weights and statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import npresnet

BASIC: dict[str, Any] = {
    "layer_type": "basic", "embedding_size": 6, "hidden_sizes": (8, 12), "depths": (2, 1), "num_labels": 5,
}  # fmt: skip
BOTTLENECK: dict[str, Any] = {
    "layer_type": "bottleneck", "embedding_size": 8, "hidden_sizes": (16, 24, 32), "depths": (1, 2, 1),
    "num_labels": 5,
}  # fmt: skip
CIFAR: dict[str, Any] = {
    "layer_type": "basic", "stem_type": "cifar", "shortcut_type": "zero_pad", "embedding_size": 4,
    "hidden_sizes": (4, 8, 16), "depths": (1, 1, 1), "num_labels": 10,
}  # fmt: skip
RESNET_D: dict[str, Any] = {
    **BOTTLENECK, "stem_type": "deep", "stem_width": 4, "shortcut_type": "avg_down", "groups": 2,
    "width_per_group": 32, "output_stride": 8, "global_pool": "catavgmax",
}  # fmt: skip


def randomize(model: Any, seed: int = 0) -> Any:
    """Draw every BatchNorm's weights and statistics, which a new model starts with constants; returns the model."""
    rng = np.random.default_rng(seed)
    state = model.state_dict()
    for name, array in state.items():
        if "normalization" in name and not name.endswith("tracked"):
            low = 0.5 if name.endswith(("weight", "var")) else -0.3
            state[name] = rng.uniform(low, low + 1 if low > 0 else -low, array.shape)
    model.load_state_dict(state)
    return model


def network(kind: type = npresnet.ResNetForImageClassification, dtype: str = "float32", **fields: Any) -> Any:
    """A model in evaluation mode; BASIC unless the fields say otherwise."""
    return randomize(kind(npresnet.ResNetConfig(**{**BASIC, **fields}), seed=0).astype(dtype))


def pixels(*shape: int, seed: int = 1, dtype: str = "float32") -> np.ndarray:
    """Random input; (2, 3, 32, 32) by default."""
    return np.random.default_rng(seed).standard_normal(shape or (2, 3, 32, 32)).astype(dtype)


def pictures(count: int = 3, size: int = 40, channels: int = 3) -> list[np.ndarray]:
    """Random pictures, uint8, (size, size, channels)."""
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (size, size, channels), np.uint8) for _ in range(count)]


@st.composite
def configurations(draw: st.DrawFn) -> npresnet.ResNetConfig:
    """Any valid configuration of a small network."""
    stages = draw(st.integers(1, 4))
    bottleneck = draw(st.booleans())
    shortcut = draw(st.sampled_from(["projection", "zero_pad", "avg_down", "none"]))
    sizes = draw(st.lists(st.integers(4, 20), min_size=stages + 1, max_size=stages + 1))
    if shortcut == "zero_pad":
        sizes.sort()
    stem = draw(st.sampled_from(["basic", "cifar", "deep", "deep_tiered"]))
    fields: dict[str, Any] = {
        "num_channels": draw(st.integers(1, 4)),
        "embedding_size": sizes[0],
        "hidden_sizes": sizes[1:],
        "depths": draw(st.lists(st.integers(1, 2), min_size=stages, max_size=stages)),
        "layer_type": "bottleneck" if bottleneck else "basic",
        "hidden_act": draw(st.sampled_from(["relu", "gelu", "swish"])),
        "downsample_in_first_stage": draw(st.booleans()),
        "downsample_in_bottleneck": bottleneck and draw(st.booleans()),
        "num_labels": draw(st.integers(0, 3)),
        "stem_type": stem,
        "stem_width": draw(st.integers(4, 9)),
        "stem_pool": "max" if stem == "cifar" else draw(st.sampled_from(["max", "caffe"])),
        "shortcut_type": shortcut,
        "output_stride": draw(st.sampled_from([8, 16, 32])),
        "global_pool": draw(st.sampled_from(["avg", "max", "avgmax", "catavgmax"])),
        "drop_path_rate": 0.0 if shortcut == "none" else draw(st.sampled_from([0.0, 0.2])),
        "batch_norm_eps": draw(st.sampled_from([1e-5, 1.001e-5])),
    }
    if bottleneck:
        fields["groups"] = draw(st.sampled_from([1, 2, 3]))
        fields["width_per_group"] = draw(st.sampled_from([64, 96, 128]))
    return npresnet.ResNetConfig(**fields)
