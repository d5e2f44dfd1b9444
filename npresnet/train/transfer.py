"""Which parts of a network learn, and when: freezing, held statistics and gradual unfreezing."""

from __future__ import annotations

import numpy as np

from ..blocks import ResNetEmbeddings, ResNetStage
from ..nn import BatchNorm2d, Dropout
from ..resnet import ResNetForImageClassification


class Learning:
    """Decides for every epoch which parameters learn and which BatchNorms keep their running statistics.

    Parameters
    ----------
    model : ResNetForImageClassification
        What is frozen in it already stays frozen.
    freeze : sequence of str
        Shell patterns of the names of parameters that never learn.
    hold_statistics : {"frozen", "all", "none"}
        Which BatchNorms use their running statistics, unchanged, in training too: those whose parameters do not learn
        at the moment, all, or only those that do so already.
    unfreeze_every : int
        With k > 0 only the classifier learns at first; after k epochs the last stage joins in, after 2 k the one before
        it, and so on to the stem (Howard & Ruder 2018, arXiv:1801.06146).

    Raises
    ------
    ValueError
        If a pattern matches nothing.
    """

    def __init__(
        self,
        model: ResNetForImageClassification,
        freeze: tuple[str, ...] = (),
        hold_statistics: str = "frozen",
        unfreeze_every: int = 0,
    ) -> None:
        if freeze:
            model.freeze(*freeze)
        self._model, self._hold, self._every = model, hold_statistics, unfreeze_every
        self._parameters = dict(model.named_parameters())
        self._fixed = {name for name, parameter in self._parameters.items() if not parameter.requires_grad}
        self._norms = [(n, module) for n, module in model.named_modules() if isinstance(module, BatchNorm2d)]
        self._held = {name for name, norm in self._norms if norm.frozen}
        self._parts = [n for n, module in model.named_modules() if isinstance(module, (ResNetEmbeddings, ResNetStage))]

    def part(self, epoch: int) -> str:
        """What learns in an epoch, counted from 0, for people."""
        ready = self._parts[len(self._waiting(epoch)) :]
        free = [name for name in self._parameters if name not in self._fixed]
        parts = [part for part in ready if any(name.startswith(f"{part}.") for name in free)]
        return ", ".join([*parts, "classifier"])

    def apply(self, epoch: int) -> bool:
        """Set what learns in an epoch, counted from 0; return whether anything changed."""
        waiting = tuple(f"{part}." for part in self._waiting(epoch))
        wanted = {
            name: name not in self._fixed and not (waiting and name.startswith(waiting)) for name in self._parameters
        }
        changed = False
        for name, parameter in self._parameters.items():
            changed |= parameter.requires_grad != wanted[name]
            parameter.requires_grad = wanted[name]
            if not wanted[name]:
                parameter.grad = None
        for name, norm in self._norms:
            held = name in self._held or self._hold == "all"
            held |= self._hold == "frozen" and not (wanted[f"{name}.weight"] or wanted[f"{name}.bias"])
            changed |= norm.frozen != held
            norm.frozen = held
        return changed

    def apply_all(self) -> None:
        """Let everything learn that ever will, whatever the epoch: for making an optimiser."""
        for name, parameter in self._parameters.items():
            parameter.requires_grad = name not in self._fixed

    def _waiting(self, epoch: int) -> list[str]:
        """Parts that do not learn yet; they are in order from the stem to the last stage."""
        return self._parts[: max(0, len(self._parts) - epoch // self._every)] if self._every else []


def set_drop_rates(
    model: ResNetForImageClassification, drop_path_rate: float | None = None, dropout: float | None = None
) -> None:
    """Change stochastic depth and dropout of a model in place; None leaves one as it is.

    Parameters
    ----------
    model : ResNetForImageClassification
    drop_path_rate : float, optional
        Of the last layer, growing along a line from 0 at the first.
    dropout : float, optional
        Before the classifier.

    Raises
    ------
    ValueError
        If a rate is not in [0, 1).
    """
    rates = {"drop_path_rate": drop_path_rate, "dropout": dropout}
    changes = {name: rate for name, rate in rates.items() if rate is not None}
    model.config = model.resnet.config = model.config.replace(**changes)
    if dropout is not None:
        model.dropout.rate = model.config.dropout
    if drop_path_rate is not None:
        paths = [module for _, module in model.named_modules() if isinstance(module, Dropout) and module.whole_samples]
        for path, rate in zip(paths, np.linspace(0, model.config.drop_path_rate, len(paths)).tolist(), strict=True):
            path.rate = rate
