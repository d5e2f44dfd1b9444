"""Training: optimisers, schedules, data, augmentation and the loop with checkpoints, on top of a model's ``backward``.

>>> groups = parameter_groups(model, weight_decay=5e-4)
>>> optimizer, schedule = SGD(groups, momentum=0.9), make_schedule("cosine", total_steps=1000, warmup_steps=50)
>>> for step in range(1000):
...     model(pixel_values, labels)
...     model.backward()
...     optimizer.step(0.1 * schedule(step))
...     optimizer.zero_grad()
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_attributes

if TYPE_CHECKING:
    from .averaging import ExponentialAverage
    from .clipping import clip_gradients, gradient_norm
    from .data import open_dataset, split_dataset
    from .diagnosis import TrainingDiverged
    from .evaluation import evaluate
    from .groups import ParameterGroup, layerwise_lr_scales, parameter_groups
    from .interrupt import TrainingInterrupted
    from .launch import new_run, resume_run
    from .log import EpochRecord, History
    from .metrics import Evaluation, Metrics
    from .mixing import mix
    from .optimizers import LAMB, OPTIMIZERS, SGD, AdamW, Optimizer
    from .recipe import Recipe, RecipeError
    from .recipe_files import packaged_recipes, read_recipe
    from .report import save_evaluation
    from .schedules import SCHEDULES, Schedule, make_schedule
    from .stopping import EarlyStopping
    from .trainer import Trainer

__all__ = [
    "LAMB",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "AdamW",
    "EarlyStopping",
    "EpochRecord",
    "Evaluation",
    "ExponentialAverage",
    "History",
    "Metrics",
    "Optimizer",
    "ParameterGroup",
    "Recipe",
    "RecipeError",
    "Schedule",
    "Trainer",
    "TrainingDiverged",
    "TrainingInterrupted",
    "clip_gradients",
    "evaluate",
    "gradient_norm",
    "layerwise_lr_scales",
    "make_schedule",
    "mix",
    "new_run",
    "open_dataset",
    "packaged_recipes",
    "parameter_groups",
    "read_recipe",
    "resume_run",
    "save_evaluation",
    "split_dataset",
]

# Imported when first used: a program that only reads data needs no optimiser, and the other way round.
_LAZY = {
    "LAMB": "optimizers",
    "OPTIMIZERS": "optimizers",
    "SCHEDULES": "schedules",
    "SGD": "optimizers",
    "AdamW": "optimizers",
    "EarlyStopping": "stopping",
    "EpochRecord": "log",
    "Evaluation": "metrics",
    "ExponentialAverage": "averaging",
    "History": "log",
    "Metrics": "metrics",
    "Optimizer": "optimizers",
    "ParameterGroup": "groups",
    "Recipe": "recipe",
    "RecipeError": "recipe",
    "Schedule": "schedules",
    "Trainer": "trainer",
    "TrainingDiverged": "diagnosis",
    "TrainingInterrupted": "interrupt",
    "clip_gradients": "clipping",
    "evaluate": "evaluation",
    "gradient_norm": "clipping",
    "layerwise_lr_scales": "groups",
    "make_schedule": "schedules",
    "mix": "mixing",
    "new_run": "launch",
    "open_dataset": "data",
    "packaged_recipes": "recipe_files",
    "parameter_groups": "groups",
    "read_recipe": "recipe_files",
    "resume_run": "launch",
    "save_evaluation": "report",
    "split_dataset": "data",
}

__getattr__ = lazy_attributes(__name__, _LAZY)
