"""A recipe: everything that decides what a training gives, in six tables. The same recipe gives the same bits.

>>> recipe = read_recipe("cifar10").replace(epochs=5, lr=0.05)
>>> recipe.optimizer.lr
0.05
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..config import ResNetConfig, preset
from ..config_fields import check_names
from .recipe_keys import Section, flag, integer, key, number, numbers, one_of, steps, table, text, texts


class RecipeError(ValueError):
    """A recipe that cannot be read or used; the message names the key, and the file if there is one."""


def _architecture(name: str, value: Any) -> str:
    preset(text(name, value))
    return str(value)


def _config(name: str, value: Any) -> dict[str, Any]:
    values = table()(name, value)
    check_names(values, [own.name for own in dataclasses.fields(ResNetConfig)])
    return values


def _validation(name: str, value: Any) -> float | str:
    if isinstance(value, str):
        return text(name, value)
    if value is False:
        return "none"
    return float(number(above=0, below=1)(name, value))


@dataclass(frozen=True)
class ModelRecipe(Section):
    """What is trained."""

    title: ClassVar[str] = "model"

    architecture: str | None = key(None, _architecture, "a network with new weights, such as resnet20")
    weights: str | None = key(None, text, "or the weights to start from: a checkpoint, or the name of published ones")
    config: Mapping[str, Any] = key(
        {}, _config, "further fields of the configuration, such as { zero_init_last = true }"
    )
    freeze: tuple[str, ...] = key((), texts, "patterns of the names of parameters that do not learn")
    hold_statistics: str = key(
        "frozen",
        one_of("frozen", "all", "none"),
        "BatchNorms that keep their running statistics: frozen ones, all or none",
    )
    unfreeze_every: int = key(
        0, integer(0), "epochs after which one more stage learns, from the classifier down (0: all from the start)"
    )


@dataclass(frozen=True)
class DataRecipe(Section):
    """What it is trained on."""

    title: ClassVar[str] = "data"

    path: str | None = key(None, text, "the images: an archive or a folder of a known kind")
    validation: float | str = key(
        "auto",
        _validation,
        "images to validate with: a part of them such as 0.1, a split, a path, auto (their own split, or 0.1), none",
    )
    image_size: int | None = key(None, integer(1), "side of the images in pixels (default: as the weights want it)")
    train_size: int | None = key(None, integer(1), "another side while it learns; random parts show things larger")
    mean: tuple[float, ...] | None = key(None, numbers(), "of every channel, from 0 to 1 (default: of the weights)")
    std: tuple[float, ...] | None = key(None, numbers(number(above=0)), "standard deviation of every channel")
    batch_size: int = key(128, integer(1), "images at a time")
    augment: tuple[Mapping[str, Any], ...] = key((), steps, "random changes of every image, in this order")
    check: bool = key(True, flag, "read every image file once before the first step, to find damaged ones")
    workers: int | None = key(None, integer(0), "threads that prepare images (no influence on results)")


@dataclass(frozen=True)
class OptimizerRecipe(Section):
    """How weights follow gradients."""

    title: ClassVar[str] = "optimizer"

    name: str = key("sgd", one_of("sgd", "adamw", "lamb"), "sgd, adamw or lamb")
    lr: float = key(0.1, number(above=0), "learning rate, which the schedule multiplies")
    momentum: float | None = key(None, number(0, below=1), "of sgd (default 0.9)")
    nesterov: bool | None = key(None, flag, "of sgd: look ahead along the momentum")
    betas: tuple[float, ...] | None = key(
        None, numbers(number(0, below=1)), "of adamw and lamb (default 0.9 and 0.999)"
    )
    eps: float | None = key(None, number(above=0), "of adamw and lamb")
    weight_decay: float = key(0.0, number(0), "of weights of convolutions and linear layers")
    decay_norms_and_biases: bool = key(False, flag, "of the weights of BatchNorms and all biases as well")
    lr_scales: Mapping[str, float] = key({}, table(number(0)), "factors of the learning rate by pattern of names")
    layer_decay: float | None = key(
        None,
        number(most=1, above=0),
        "factor of the learning rate from each stage to the one below it (discriminative rates)",
    )
    clip_norm: float | None = key(None, number(above=0), "largest norm of all gradients together")
    accumulate: int = key(1, integer(1), "batches whose gradients make one step")
    ema_decay: float | None = key(
        None, number(0, below=1), "of the moving average of weights, which is then the result"
    )


@dataclass(frozen=True)
class ScheduleRecipe(Section):
    """How the learning rate changes; all times in epochs, which may be fractions."""

    title: ClassVar[str] = "schedule"

    name: str = key("cosine", one_of("constant", "step", "cosine", "one_cycle"), "constant, step, cosine or one_cycle")
    warmup_epochs: float = key(0.0, number(0), "epochs in which the rate first grows along a line")
    warmup_start: float = key(0.1, number(0, 1), "where it begins, as a part of the rate it leads to")
    milestones: tuple[float, ...] | None = key(
        None, numbers(number(above=0)), "of step: epochs at which the rate falls"
    )
    gamma: float | None = key(None, number(0), "of step: what the rate is multiplied with then (default 0.1)")
    final: float | None = key(None, number(0), "of cosine: where it ends, as a part of the rate (default 0)")
    pct_start: float | None = key(None, number(0, 1), "of one_cycle: part of the steps that goes up (default 0.3)")
    div_factor: float | None = key(None, number(above=0), "of one_cycle: how far below the top it starts (default 25)")
    final_div_factor: float | None = key(
        None, number(above=0), "of one_cycle: how far below that it ends (default 1e4)"
    )


@dataclass(frozen=True)
class RegularizationRecipe(Section):
    """What keeps it from learning the images by heart."""

    title: ClassVar[str] = "regularization"

    label_smoothing: float = key(0.0, number(0, below=1), "part of the labels that is spread over all classes")
    mixup_alpha: float = key(0.0, number(0), "add pairs of images, by Beta(alpha, alpha)")
    cutmix_alpha: float = key(0.0, number(0), "put a piece of one image into another")
    mix_probability: float = key(1.0, number(0, 1), "that a batch is mixed at all")
    drop_path_rate: float | None = key(None, number(0, below=1), "stochastic depth, of the last layer")
    dropout: float | None = key(None, number(0, below=1), "before the classifier")


@dataclass(frozen=True)
class RunRecipe(Section):
    """How long, and what is kept."""

    title: ClassVar[str] = "run"

    epochs: int = key(10, integer(1), "times that every image is seen")
    seed: int = key(0, integer(0), "of everything random")
    monitor: str = key("accuracy", one_of("accuracy", "loss"), "the measure of validation that decides what is best")
    patience: int | None = key(None, integer(1), "epochs without an improvement after which to stop early")
    min_delta: float = key(0.0, number(0), "what counts as an improvement for patience")
    save_minutes: float = key(10.0, number(0), "time between saves within an epoch")
    checkpoint_activations: bool = key(False, flag, "compute maps twice rather than keep them: less memory")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training gives.

    Attributes
    ----------
    model, data, optimizer, schedule, regularization, run
        The tables.
    description : str
        One line for people.

    Raises
    ------
    RecipeError
        If a value is out of range, or an option does not belong to the optimiser or schedule that is chosen.
    """

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    regularization: RegularizationRecipe = field(default_factory=RegularizationRecipe)
    run: RunRecipe = field(default_factory=RunRecipe)
    description: str = ""

    def __post_init__(self) -> None:
        for section, options in OPTIONS.items():
            values = getattr(self, section)
            for option, owners in options.items():
                if getattr(values, option) is not None and values.name not in owners:
                    raise RecipeError(
                        f"{section}.{option} belongs to {' and '.join(owners)}, but {section}.name is {values.name!r}; "
                        "leave it out"
                    )
        if self.schedule.name == "step" and not self.schedule.milestones:
            raise RecipeError("schedule.name = 'step' needs schedule.milestones, such as [15, 25] (epochs)")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from tables, such as the content of a file; what they leave out has its default.

        Raises
        ------
        RecipeError
            For an unknown table or key (with the nearest known one) and for a value that is not allowed.
        """
        return cls().merged(values)

    def merged(self, values: Mapping[str, Any]) -> Recipe:
        """Return a copy with the keys of some tables changed; see :meth:`from_dict`."""
        changes: dict[str, Any] = {}
        for name, content in values.items():
            if name == "description":
                changes[name] = content if isinstance(content, str) else str(content)
                continue
            section = SECTIONS.get(name)
            if section is None:
                raise RecipeError(f"unknown table or key {name!r}{_hint(name, '')}")
            if not isinstance(content, Mapping):
                raise RecipeError(f"[{name}] must be a table, found {content!r}")
            for own in content:
                if own not in section.key_names():
                    raise RecipeError(f"unknown key {own!r} in [{name}]{_hint(own, name)}")
            changes[name] = self._changed(name, content)
        return dataclasses.replace(self, **changes)

    def _changed(self, name: str, content: Mapping[str, Any]) -> Section:
        """A table with some values changed; a new optimiser or schedule does not inherit the options of the old."""
        before: Section = getattr(self, name)
        dropped: dict[str, Any] = {}
        chosen = content.get("name")
        if name in OPTIONS and chosen is not None:
            dropped = {option: None for option, owners in OPTIONS[name].items() if chosen not in owners}
        try:
            changed: Section = before.replace(**{**dropped, **content})
        except (ValueError, TypeError) as error:
            raise RecipeError(str(error)) from None
        return changed

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some keys changed, each by its own name: no two tables have the same key but ``name``.

        With another number of epochs, the times of the schedule that are not given as well change in proportion.

        Parameters
        ----------
        **changes
            Such as ``epochs=5``; ``optimizer="adamw"`` and ``schedule="step"`` stand for the names in these tables.

        Raises
        ------
        RecipeError
            For an unknown key (with the nearest) and for a value that is not allowed.
        """
        values: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            if name in OPTIONS and isinstance(value, str):
                section, own = name, "name"
            elif name in SECTIONS and isinstance(value, Mapping):
                values.setdefault(name, {}).update(value)
                continue
            else:
                section, own = find_key(name)
            values.setdefault(section, {})[own] = value
        changed = self.merged(values)
        scaled = self._scaled_times(changed.run.epochs / self.run.epochs, values.get("schedule", {}))
        return changed.merged({"schedule": scaled}) if scaled else changed

    def _scaled_times(self, factor: float, given: Mapping[str, Any]) -> dict[str, Any]:
        """The times of the schedule for another number of epochs, but for those that are given."""
        if factor == 1 or given.get("name", self.schedule.name) != self.schedule.name:
            return {}
        times = {
            "warmup_epochs": self.schedule.warmup_epochs * factor,
            "milestones": [factor * time for time in self.schedule.milestones or ()],
        }
        return {name: time for name, time in times.items() if time and name not in given}

    def to_dict(self) -> dict[str, Any]:
        """Return all tables in plain types, keys that are not set included, as None."""
        return {"description": self.description, **{name: getattr(self, name).to_dict() for name in SECTIONS}}

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """Return ``{"table.key": (value here, value there)}`` of all keys that differ."""
        mine, others = self.to_dict(), other.to_dict()
        return {
            f"{section}.{own}": (value, others[section][own])
            for section in SECTIONS
            for own, value in mine[section].items()
            if value != others[section][own]
        }


SECTIONS: dict[str, type[Section]] = {
    kind.title: kind
    for kind in (ModelRecipe, DataRecipe, OptimizerRecipe, ScheduleRecipe, RegularizationRecipe, RunRecipe)
}
"""The tables of a recipe by name."""

OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "optimizer": {
        "momentum": ("sgd",), "nesterov": ("sgd",), "betas": ("adamw", "lamb"), "eps": ("adamw", "lamb"),
    },
    "schedule": {
        "milestones": ("step",), "gamma": ("step",), "final": ("cosine",), "pct_start": ("one_cycle",),
        "div_factor": ("one_cycle",), "final_div_factor": ("one_cycle",),
    },
}  # fmt: skip
"""Keys that only some optimisers or schedules have."""


def find_key(name: str) -> tuple[str, str]:
    """Return table and key of a name such as ``"lr"`` or ``"optimizer.lr"``.

    Raises
    ------
    RecipeError
        If there is none, with the nearest.
    """
    section, _, own = name.rpartition(".")
    if section:
        if section in SECTIONS and own in SECTIONS[section].key_names():
            return section, own
    elif own != "name":
        for title, kind in SECTIONS.items():
            if own in kind.key_names():
                return title, own
    raise RecipeError(f"unknown key {name!r}{_hint(own, section)}")


def _hint(name: str, section: str) -> str:
    """Where a misspelt or misplaced name may belong."""
    if section in SECTIONS:
        near = difflib.get_close_matches(str(name), SECTIONS[section].key_names(), n=1)
        if near:
            return f"; did you mean {near[0]!r}?"
    places = {own: title for title, kind in SECTIONS.items() for own in kind.key_names() if own != "name"}
    if name in places:
        return f"; it belongs into [{places[name]}]"
    near = difflib.get_close_matches(str(name), [*SECTIONS, *places], n=1)
    if near:
        where = f" in [{places[near[0]]}]" if near[0] in places else ""
        return f"; did you mean {near[0]!r}{where}?"
    if section in SECTIONS:
        return f"; its keys are {', '.join(SECTIONS[section].key_names())}"
    return f"; the tables are {', '.join(SECTIONS)}"
