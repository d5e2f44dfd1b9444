"""From the tables of a recipe to what a training uses: preprocessing, batches, optimiser and schedule."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..image import ImageProcessor
from ..resnet import ResNetForImageClassification
from ..summary import default_input_size
from .augment import Compose
from .augment.preprocess import Preprocess
from .data import Loader
from .groups import layerwise_lr_scales, parameter_groups
from .optimizers import OPTIMIZERS, Optimizer
from .recipe import OPTIONS, DataRecipe, OptimizerRecipe, Recipe, RecipeError, ScheduleRecipe
from .schedules import SCHEDULES, Schedule, make_schedule


def input_size(model: ResNetForImageClassification) -> tuple[int, int]:
    """Height and width of the images that the model's processor makes."""
    _, height, width = default_input_size(model)
    return height, width


def set_processor(model: ResNetForImageClassification, recipe: DataRecipe) -> None:
    """Give a model the preprocessing that a recipe asks for; it is saved with the model.

    Raises
    ------
    RecipeError
        If mean and standard deviation do not have a value for each channel.
    """
    processor, channels = model.processor, model.config.num_channels
    if recipe.image_size is not None and input_size(model) != (recipe.image_size,) * 2:
        processor = _with_size(processor, recipe.image_size)
    for name in ("mean", "std"):
        values = getattr(recipe, name)
        if values is None:
            continue
        if len(values) not in (1, channels):
            raise RecipeError(f"data.{name} must have a value for each of {channels} channels, found {list(values)}")
        changes = {f"image_{name}": values * channels if len(values) == 1 else values}
        if not _is_usual(processor):
            changes.update(do_rescale=True, rescale_factor=1 / 255, do_normalize=True, channel_order="rgb")
        processor = processor.replace(**changes)
    model.processor = processor


def _with_size(processor: ImageProcessor, size: int) -> ImageProcessor:
    """The same way of resizing and cropping, for square images of another size."""
    if processor.crop_size is not None:
        edge = processor.size.get("shortest_edge")
        ratio = 1.0 if edge is None else edge / min(processor.crop_size.values())
        shape = {"shortest_edge": round(size * ratio)} if edge is not None else {"height": size, "width": size}
        return processor.replace(do_resize=True, size=shape, crop_size=size)
    if processor.crop_pct is not None:
        return processor.replace(do_resize=True, size=size)
    return processor.replace(do_resize=True, size=(size, size))


def _is_usual(processor: ImageProcessor) -> bool:
    """Whether the numbers of a recipe, RGB from 0 to 1, can describe the normalisation."""
    usual = processor.do_rescale and processor.do_normalize and processor.channel_order == "rgb"
    return usual and abs(processor.rescale_factor * 255 - 1) < 1e-9


def resolved(recipe: Recipe, model: ResNetForImageClassification) -> Recipe:
    """Return the recipe with what it left open: size, mean and deviation of the images, and all defaults."""
    height, width = input_size(model)
    data: dict[str, Any] = {"image_size": height} if height == width else {}
    if _is_usual(model.processor):
        data.update(mean=list(model.processor.image_mean), std=list(model.processor.image_std))
    makers: dict[str, Callable[..., Any]] = {
        "optimizer": OPTIMIZERS[recipe.optimizer.name],
        "schedule": SCHEDULES[recipe.schedule.name],
    }
    return recipe.merged({"data": data, **{name: _defaults(recipe, name, make) for name, make in makers.items()}})


def _defaults(recipe: Recipe, section: str, make: Callable[..., Any]) -> dict[str, Any]:
    """What an optimiser or a schedule takes for the options that a recipe does not set."""
    parameters = inspect.signature(make).parameters
    own = getattr(recipe, section)
    options = [name for name in OPTIONS[section] if name in parameters and getattr(own, name) is None]
    return {name: parameters[name].default for name in options}


@dataclass(frozen=True)
class ReverseChannels:
    """RGB to BGR, for networks that came from Caffe."""

    def __call__(self, image: np.ndarray, draws: Any) -> np.ndarray:
        """Return the image, (H, W, C), with its channels in reverse order."""
        return image[:, :, ::-1]


def training_loader(dataset: Any, model: ResNetForImageClassification, recipe: Recipe) -> Loader:
    """Return the shuffled and augmented batches to learn from."""
    processor, size = model.processor, input_size(model)
    if recipe.data.train_size is not None:
        processor, size = _with_size(processor, recipe.data.train_size), (recipe.data.train_size,) * 2
    augment: Any = Preprocess(processor)
    if recipe.data.augment:
        from .augment import make_augmentation

        augment = make_augmentation(recipe.data.augment, size, processor.image_mean if _is_usual(processor) else None)
    if processor.channel_order == "bgr":
        augment = Compose([augment, ReverseChannels()])
    scale = 255 * processor.rescale_factor if processor.do_rescale else 255.0
    mean = processor.image_mean if processor.do_normalize else (0.0,) * processor.num_channels
    std = processor.image_std if processor.do_normalize else (1.0,) * processor.num_channels
    return Loader(
        dataset,
        min(recipe.data.batch_size, len(dataset)),
        size=size,
        mean=[value / scale for value in mean],
        std=[value / scale for value in std],
        augment=augment,
        shuffle=True,
        seed=recipe.run.seed,
        drop_last=True,  # a BatchNorm learns nothing good from the two or three images that may remain
        workers=recipe.data.workers,
    )


def validation_loader(dataset: Any, model: ResNetForImageClassification, recipe: Recipe) -> Loader:
    """Return the batches to validate with, preprocessed as for a prediction."""
    return Loader.for_evaluation(dataset, recipe.data.batch_size, model.processor, workers=recipe.data.workers)


def build_optimizer(model: ResNetForImageClassification, recipe: OptimizerRecipe) -> Optimizer:
    """Return the optimiser of all parameters that are not frozen."""
    scales = {} if recipe.layer_decay is None else layerwise_lr_scales(model, recipe.layer_decay)
    groups = parameter_groups(
        model,
        recipe.weight_decay,
        decay_norms_and_biases=recipe.decay_norms_and_biases,
        lr_scales={**scales, **recipe.lr_scales},
    )
    options = {name: getattr(recipe, name) for name in ("momentum", "nesterov", "betas", "eps")}
    return OPTIMIZERS[recipe.name](groups, **{name: value for name, value in options.items() if value is not None})


def build_schedule(recipe: ScheduleRecipe, epochs: int, steps_per_epoch: int) -> Schedule:
    """Return the schedule over all steps.

    Raises
    ------
    RecipeError
        If the warm-up or the milestones do not fit into the training.
    """
    names = ("gamma", "final", "pct_start", "div_factor", "final_div_factor")
    options = {name: getattr(recipe, name) for name in names if getattr(recipe, name) is not None}
    if recipe.milestones is not None:
        options["milestones"] = [round(time * steps_per_epoch) for time in recipe.milestones]
    try:
        return make_schedule(
            recipe.name,
            epochs * steps_per_epoch,
            warmup_steps=round(recipe.warmup_epochs * steps_per_epoch),
            warmup_start=recipe.warmup_start,
            **options,
        )
    except ValueError as error:
        times = [f"warmup_epochs = {recipe.warmup_epochs:g}"]
        times += [f"milestones = {list(recipe.milestones)}"] if recipe.milestones is not None else []
        raise RecipeError(
            f"the schedule does not fit into {epochs} epochs of {steps_per_epoch} steps ({', '.join(times)}): {error}"
        ) from None
