"""The training loop: from a model, images and a recipe to the best checkpoint, interrupted or not.

Nothing random is drawn from a generator with a history. The order of the images, their augmentation, how they are mixed
and what dropout drops are functions of the seed and of the number of the epoch, image or batch. So the state of a
training is its arrays and its position, and a training that goes on from a saved state gives the same bits as one that
was never interrupted.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ..resnet import ResNetForImageClassification
from .averaging import ExponentialAverage
from .checking import check_images
from .curves import need_matplotlib
from .descent import Descent
from .diagnosis import TrainingDiverged
from .inference import make_inference
from .interrupt import Interrupts, TrainingInterrupted
from .labels import check_classes, name_classes
from .log import COMPLETE, INTERRUPTED, STOPPED_EARLY, EpochRecord, History
from .metrics import Metrics
from .preparation import build_optimizer, build_schedule, resolved, set_processor, training_loader, validation_loader
from .progress import Figures, Progress, Speed, make_progress
from .recipe import Recipe
from .recipe_files import read_recipe
from .resuming import compare_architecture, compare_data, compare_recipes, compare_versions, own_versions
from .rundir import LAST, RunDirectory
from .state import Arrays, Position, TrainingState, fingerprint
from .stopping import EarlyStopping
from .transfer import Learning, set_drop_rates

SECONDS_BETWEEN_TRIES = 60.0
"""After a save that failed."""


class Trainer:
    """Trains a model by a recipe.

    Parameters
    ----------
    model : ResNetForImageClassification
        Trained in place. Its generator is replaced by one that follows from the recipe's seed.
    train : Dataset or Loader
        Images to learn from. A loader is used as it is; for a data set the recipe's batches are made.
    validation : Dataset or Loader, optional
        Images that decide what is best; without them it is the last epoch.
    recipe : Recipe, path or str, optional
        A recipe, a file, or the name of one in the package; by default that of :class:`Recipe`.
    output_dir : path, optional
        Where to keep the run: recipe.toml, log.csv, curves.png, last.npz (everything to go on) and best.npz (a
        checkpoint for :func:`npresnet.load`). Without it nothing is written.
    progress : bool
        Show a bar on a terminal, lines elsewhere.
    **changes
        Keys of the recipe to change, such as ``epochs=5``, ``lr=0.01``, ``batch_size=64``.

    Attributes
    ----------
    recipe : Recipe
        Complete, as it is run.
    history : History
    optimizer, schedule, average, stopping
        What the recipe asks for; the last two may be None.

    Raises
    ------
    RecipeError
        For an unknown or misspelt key, or one that does not fit.
    ValueError
        If labels and classes do not fit together, or nothing can learn.

    Examples
    --------
    Transfer learning:

    >>> model = npresnet.load("weights/r50.npz")
    >>> model.reset_classifier(id2label={0: "cat", 1: "dog"})
    >>> trainer = Trainer(model, train, validation, "fine-tune", epochs=5, output_dir="runs/pets")
    >>> history = trainer.fit()
    >>> npresnet.evaluate(model, validation).top1
    0.98
    """

    def __init__(
        self,
        model: ResNetForImageClassification,
        train: Any,
        validation: Any = None,
        recipe: Recipe | str | os.PathLike[str] | None = None,
        *,
        output_dir: str | os.PathLike[str] | None = None,
        progress: bool = True,
        **changes: Any,
    ) -> None:
        recipe = Recipe() if recipe is None else recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
        recipe = recipe.replace(**changes) if changes else recipe
        _check_model(model)
        sets = [(_dataset(part), role) for part, role in ((train, "train"), (validation, "validation"))]
        for dataset, role in sets:
            if dataset is not None:
                check_classes(dataset, model, role)
        name_classes(model, sets[0][0])
        self.model = model
        set_processor(model, recipe.data)
        set_drop_rates(model, recipe.regularization.drop_path_rate, recipe.regularization.dropout)
        self.recipe = resolved(recipe, model)
        self._datasets = [dataset for dataset, _ in sets if dataset is not None]
        self._data = {role: fingerprint(dataset) for dataset, role in sets if dataset is not None}

        self._train = train if hasattr(train, "epoch") else training_loader(train, model, recipe)
        self._validation = validation
        if validation is not None and not hasattr(validation, "epoch"):
            self._validation = validation_loader(validation, model, recipe)
        self._batches = len(self._train)
        self._steps_per_epoch = -(-self._batches // recipe.optimizer.accumulate)

        own = recipe.model
        self._learning = Learning(model, own.freeze, own.hold_statistics, own.unfreeze_every)
        self._learning.apply_all()
        self.optimizer = build_optimizer(model, recipe.optimizer)
        self.schedule = build_schedule(recipe.schedule, recipe.run.epochs, self._steps_per_epoch)
        decay = recipe.optimizer.ema_decay
        self.average = None if decay is None else ExponentialAverage(model, decay)
        self.stopping = _stopping(recipe, validation is not None)
        self._descent = Descent(model, recipe, self.optimizer, self.schedule, self.average)
        self._inference = make_inference(model)

        self.history = History()
        self._position = Position()
        self._best: Arrays | None = None  # the best weights
        self._best_is_written = True
        self._directory = None if output_dir is None else RunDirectory(output_dir)
        self._wants_progress = progress
        self._progress = Progress()
        self._speed = Speed()
        self._is_begun = False
        self._saved_at = 0.0
        self._save_error: OSError | None = None

    @property
    def best_path(self) -> Path | None:
        """Where the best weights are, or will be."""
        return None if self._directory is None else self._directory.best

    # ---------------------------------------------------------------------------------------------------------- fitting

    def fit(self, *, resume: bool = False) -> History:
        """Train to the end of the recipe.

        Parameters
        ----------
        resume : bool
            Go on with the run in ``output_dir``: to the same bits as if it had never stopped.

        Returns
        -------
        History
            The model then has the best weights (with ``ema_decay``, their average), in evaluation mode.

        Raises
        ------
        TrainingInterrupted
            After Ctrl-C or a signal that asks to stop, once everything is saved. Calling again goes on.
        TrainingDiverged
            If the loss or a gradient is not finite; the message says where that began. The model stays as it was
            before the step.
        FileExistsError
            If ``output_dir`` already holds a run, and ``resume`` is false.
        CheckpointError, ValueError
            If the run to go on with is damaged, or belongs to another architecture, recipe or data set.
        OSError
            If the disk is full or cannot be written.
        """
        if self._descent.is_torn:
            raise RuntimeError(
                "the last step was cut short in the middle; make a new Trainer, and resume the saved run"
            )
        self._progress = make_progress(self._wants_progress)
        with closing(self._progress), Interrupts() as interrupts:
            if not self._is_begun:
                self._begin(resume)
            try:
                while self.history.outcome == INTERRUPTED:
                    self._learn(interrupts)
                    self._conclude_epoch(interrupts)
            except (TrainingInterrupted, TrainingDiverged):
                raise
            except Exception:
                with contextlib.suppress(OSError):  # the error that is under way matters more
                    self._save()
                raise
            self._take_best()
            if self._save_error is not None:
                raise self._save_error
        return self.history

    def _begin(self, resume: bool) -> None:
        directory = self._directory
        if resume:
            if directory is None:
                raise ValueError("resume=True needs the output_dir of the run")
            self._restore(directory.read_state())
        elif directory is not None:
            directory.check_is_new()
        if self.recipe.data.check and not resume:
            for dataset in self._datasets:
                check_images(dataset)
        if directory is not None:
            directory.create()
        self._learning.apply(self._position.epoch)
        if directory is not None:
            directory.remove_leftovers()
            state, own = self._state(), self._model_arrays()
            directory.check_space(sum(map(_bytes, state.arrays.values())), _bytes(own))
            directory.write_recipe(self.recipe)
            if not resume:
                directory.write_state(state)  # a disk that cannot be written must not show after hours
        self._is_begun = True
        self._saved_at = time.monotonic()
        self._progress.begin(self._announcement())
        if directory is not None and (advice := need_matplotlib()) is not None:
            self._progress.note(advice)

    def _announcement(self) -> str:
        position, epochs = self._position, self.recipe.run.epochs
        text = (
            f"{self.model.num_parameters:,} parameters, {self._data['train']['images']:,} images, "
            f"{self._batches:,} batches an epoch, {epochs} epochs"
        )
        if position.step:
            text += f"; going on at epoch {min(position.epoch + 1, epochs)}, batch {position.batch + 1}"
        if self.recipe.model.unfreeze_every:
            text += f"\nlearning: {self._learning.part(position.epoch)}"
        return text

    def _learn(self, interrupts: Interrupts) -> None:
        """Go through the batches of the current epoch that are left."""
        position = self._position
        if self._learning.apply(position.epoch):
            self._descent.prepare()
            self._progress.note(f"learning from now on: {self._learning.part(position.epoch)}")
        if position.batch >= self._batches:
            return
        batches: Any = self._train.epoch(position.epoch, start=position.batch)
        with contextlib.ExitStack() as stack:
            if hasattr(batches, "close"):
                stack.enter_context(closing(batches))  # stops its threads
            while position.batch < self._batches:
                self._take_step(batches)
                self._progress.batch(self._figures())
                if interrupts.received is not None:
                    self._stop(interrupts.received)
                if self._is_due():
                    self._save()

    def _take_step(self, batches: Iterator[Any]) -> None:
        position = self._position
        count = min(self.recipe.optimizer.accumulate, self._batches - position.batch)
        before = time.perf_counter()
        try:
            outcome = self._descent.take(batches, count, position.step, position.epoch * self._batches + position.batch)
        except TrainingDiverged as error:
            kept = "the model is as it was before this step"
            if self._directory is not None:
                kept = f"{self._directory.path / LAST} still holds an earlier step"
            raise TrainingDiverged(
                f"training diverged at step {position.step + 1} (epoch {position.epoch + 1}, batch "
                f"{position.batch + 1}): {error}. {kept[0].upper()}{kept[1:]}. Start again with a lower learning rate, "
                "a longer warm-up, or clip_norm = 1.0"
            ) from None
        seconds = time.perf_counter() - before
        position.seconds += seconds
        position.training_seconds += seconds
        position.batch += outcome.batches
        position.step += 1
        position.loss += outcome.loss
        position.right += outcome.right
        position.images += outcome.images
        self._speed.batch(outcome.images, seconds)

    # ------------------------------------------------------------------------------------------------ end of an epoch

    def _conclude_epoch(self, interrupts: Interrupts) -> None:
        position, run = self._position, self.recipe.run
        before = time.perf_counter()
        metrics = self._validate(interrupts)
        self._speed.validation = time.perf_counter() - before
        position.seconds += self._speed.validation
        record = EpochRecord(
            epoch=position.epoch + 1,
            step=position.step,
            learning_rate=self._descent.learning_rate(position.step - 1),
            train_loss=position.loss / position.images,
            train_accuracy=position.right / position.images,
            validation_loss=None if metrics is None else metrics.loss,
            validation_accuracy=None if metrics is None else metrics.top1,
            validation_top5=None if metrics is None else metrics.top5,
            images_per_second=position.images / position.training_seconds if position.training_seconds else 0.0,
            seconds=position.seconds,
        )
        self.history.records.append(record)
        value = record.validation_accuracy if run.monitor == "accuracy" else record.validation_loss
        is_best = self._is_best(value)
        if is_best:
            self.history.best_epoch, self.history.best_value = record.epoch, value
            self._best, self._best_is_written = self._model_arrays(), self._directory is None
        self._position = position.next_epoch()
        if self._position.epoch == run.epochs:
            self.history.outcome = COMPLETE
        if self.stopping is not None and self.stopping.update(math.nan if value is None else value):
            self.history.outcome = STOPPED_EARLY if self._position.epoch < run.epochs else COMPLETE
        self._progress.epoch(record, run.epochs, is_best)
        self._save(at_end=self.history.outcome != INTERRUPTED)

    def _validate(self, interrupts: Interrupts) -> Metrics | None:
        if self._validation is None:
            if interrupts.received is not None:
                self._stop(interrupts.received)
            return None
        metrics = Metrics(self.model.config.num_labels)
        with self._descent.averaged():
            batches = self._validation.epoch(0)
            with contextlib.ExitStack() as stack:
                if hasattr(batches, "close"):
                    stack.enter_context(closing(batches))
                for number, batch in enumerate(batches):
                    if interrupts.received is not None:
                        break
                    metrics.update(self._inference(batch.pixel_values), batch.labels)
                    self._progress.validating(number + 1, len(self._validation))
        if interrupts.received is not None:
            self._stop(interrupts.received)  # the epoch's steps are done: its validation will be repeated
        return metrics

    def _is_best(self, value: float | None) -> bool:
        """Whether a value is better than all before it; without validation the last epoch always is."""
        best = self.history.best_value
        if self._validation is None:
            return True
        if value is None or math.isnan(value):
            return False
        return best is None or (value > best if self.recipe.run.monitor == "accuracy" else value < best)

    def _take_best(self) -> None:
        """Put the best weights into the model."""
        if self._best is None and self._directory is not None and self._directory.best.exists():
            from ..zoo import load

            self._best = load(self._directory.best, dtype=self.model.dtype)._arrays()
        if self._best is not None:
            self.model.load_state_dict(self._best)
        self.model.eval()

    # ----------------------------------------------------------------------------------------------------------- saving

    def _stop(self, signal: int) -> None:
        """Save, and raise what says how to go on."""
        self._save(at_end=True)
        if self._save_error is not None:
            raise self._save_error
        done = f"stopped after step {self._position.step} (epoch {self._position.epoch + 1})"
        if self._directory is None:
            raise TrainingInterrupted(f"{done}; call fit() again to go on", signal)
        path = self._directory.path
        raise TrainingInterrupted(f"{done}, all saved; go on with: npresnet train --resume {path}", signal)

    def _is_due(self) -> bool:
        wait = 60 * self.recipe.run.save_minutes if self._save_error is None else SECONDS_BETWEEN_TRIES
        return self._directory is not None and time.monotonic() - self._saved_at >= wait

    def _save(self, at_end: bool = False) -> None:
        """Write what has changed. If the disk is full, say so, keep everything in memory, and try again later."""
        self._saved_at = time.monotonic()
        if self._directory is None or self._descent.is_torn:
            return
        try:
            if not self._best_is_written:
                assert self._best is not None
                self._directory.write_best(self._best, self.model.config, self._preprocessing())
                self._best_is_written = True
            self._directory.write_state(self._state())
            self._directory.write_log(self.history, at_end)
        except OSError as error:
            if self._save_error is None:
                self._progress.note(f"cannot save: {error}; training goes on, and saving will be tried again")
            self._save_error = error
        else:
            self._save_error = None

    def _model_arrays(self) -> Arrays:
        """Copies of the weights that are the result: their average if there is one."""
        with self._descent.averaged():
            return self.model.state_dict()

    def _preprocessing(self) -> dict[str, Any]:
        return self.model.processor.to_dict()

    def _state(self) -> TrainingState:
        arrays: dict[str, Arrays] = {"model": self.model._arrays(), "optimizer": self.optimizer.state_dict()}
        arrays["average"] = {} if self.average is None else self.average.state_dict()
        arrays["stopping"] = {} if self.stopping is None else self.stopping.state_dict()
        recipe, history = self.recipe.to_dict(), self.history.to_dict()
        return TrainingState(
            self.model.config, self._preprocessing(), arrays, recipe, self._position, history, self._data,
            own_versions(),
        )  # fmt: skip

    def _restore(self, state: TrainingState) -> None:
        """Take over a saved state, if it belongs to this model, recipe and data; otherwise nothing is changed."""
        assert self._directory is not None
        where = f"{self._directory.path / LAST}"
        compare_architecture(state.arrays["model"], self.model, where)
        compare_recipes(Recipe.from_dict(state.recipe), self.recipe, where)
        compare_data(state.data, self._data, where)
        compare_versions(state.versions)
        history = History.from_dict(state.history)
        self.optimizer.load_state_dict(state.arrays["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state.arrays["average"])
        if self.stopping is not None:
            self.stopping.load_state_dict(state.arrays["stopping"])
        self.model.load_state_dict(state.arrays["model"])
        self._position, self.history = state.position, history

    def _figures(self) -> Figures:
        position, epochs = self._position, self.recipe.run.epochs
        per_batch = position.images / position.batch
        batches = (epochs - position.epoch) * self._batches - position.batch
        validations = epochs - position.epoch if self._validation is not None else 0
        return Figures(
            epoch=position.epoch + 1,
            epochs=epochs,
            batch=position.batch,
            batches=self._batches,
            loss=position.loss / position.images,
            accuracy=position.right / position.images,
            learning_rate=self._descent.learning_rate(position.step - 1),
            images_per_second=self._speed.images_per_second,
            seconds_left=self._speed.seconds_left(round(batches * per_batch), validations),
        )


def _check_model(model: Any) -> None:
    if not isinstance(model, ResNetForImageClassification):
        raise TypeError(f"only a ResNetForImageClassification can be trained, found a {type(model).__name__}")
    config = model.config
    if config.num_labels < 2:
        raise ValueError(
            f"training needs a classifier of at least 2 classes, found num_labels={config.num_labels}; call "
            "reset_classifier(num_labels)"
        )
    if config.problem_type not in (None, "single_label_classification"):
        raise ValueError(f"training minimises cross-entropy; the model is made for {config.problem_type}")


def _dataset(part: Any) -> Any:
    """The data set of a loader, or what is a data set already."""
    return part.dataset if hasattr(part, "epoch") else part


def _stopping(recipe: Recipe, validates: bool) -> EarlyStopping | None:
    run = recipe.run
    if run.patience is None:
        return None
    if not validates:
        raise ValueError("run.patience needs validation data: early stopping watches their accuracy or loss")
    return EarlyStopping(run.patience, run.min_delta, "max" if run.monitor == "accuracy" else "min")


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())
