"""Training: optimisers, schedules, data, augmentation and the loop with checkpoints, on top of a model's ``backward``.

>>> groups = parameter_groups(model, weight_decay=5e-4)
>>> optimizer, schedule = SGD(groups, momentum=0.9), make_schedule("cosine", total_steps=1000, warmup_steps=50)
>>> for step in range(1000):
...     model(pixel_values, labels)
...     model.backward()
...     optimizer.step(0.1 * schedule(step))
...     optimizer.zero_grad()
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .averaging import ExponentialAverage
    from .clipping import clip_gradients, gradient_norm
    from .groups import ParameterGroup, layerwise_lr_scales, parameter_groups
    from .mixing import mix
    from .optimizers import LAMB, OPTIMIZERS, SGD, AdamW, Optimizer
    from .schedules import SCHEDULES, Schedule, make_schedule
    from .stopping import EarlyStopping

__all__ = [
    "LAMB",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "AdamW",
    "EarlyStopping",
    "ExponentialAverage",
    "Optimizer",
    "ParameterGroup",
    "Schedule",
    "clip_gradients",
    "gradient_norm",
    "layerwise_lr_scales",
    "make_schedule",
    "mix",
    "parameter_groups",
]

# Imported when first used: a program that only reads data needs no optimiser, and the other way round.
_LAZY = {
    "LAMB": "optimizers",
    "OPTIMIZERS": "optimizers",
    "SCHEDULES": "schedules",
    "SGD": "optimizers",
    "AdamW": "optimizers",
    "EarlyStopping": "stopping",
    "ExponentialAverage": "averaging",
    "Optimizer": "optimizers",
    "ParameterGroup": "groups",
    "Schedule": "schedules",
    "clip_gradients": "clipping",
    "gradient_norm": "clipping",
    "layerwise_lr_scales": "groups",
    "make_schedule": "schedules",
    "mix": "mixing",
    "parameter_groups": "groups",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'npresnet.train' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value
