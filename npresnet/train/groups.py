"""Parameters in groups: which ones decay, and how fast each part of the network learns."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..blocks import ResNetEmbeddings, ResNetStage
from ..config_fields import check_number
from ..nn import Module, Parameter
from .checks import check_not_negative


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are treated alike.

    Attributes
    ----------
    names : tuple of str
        As in ``model.named_parameters()``; the state of an optimiser is kept under them.
    parameters : tuple of Parameter
    lr_scale : float
        Factor of the learning rate.
    weight_decay : float

    Raises
    ------
    ValueError
        If names and parameters do not correspond, or a number is negative or not finite.
    """

    names: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    lr_scale: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for field in ("names", "parameters"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if len(self.names) != len(self.parameters):
            raise ValueError(f"a group needs one name for each parameter, found {len(self.names)} names and "
                             f"{len(self.parameters)} parameters")  # fmt: skip
        for field in ("lr_scale", "weight_decay"):
            object.__setattr__(self, field, check_not_negative(field, getattr(self, field)))


def parameter_groups(
    model: Module,
    weight_decay: float,
    *,
    decay_norms_and_biases: bool = False,
    lr_scales: Mapping[str, float] | None = None,
) -> list[ParameterGroup]:
    """Put the parameters of a model that are not frozen into groups.

    Parameters
    ----------
    model : Module
    weight_decay : float
        Of the weights of convolutions and linear layers.
    decay_norms_and_biases : bool
        Let the weights of BatchNorms and all biases decay as well, as in the paper; few do so today.
    lr_scales : mapping of pattern to float, optional
        Factors of the learning rate for shell patterns of parameter names (``*`` also matches dots), such as
        ``{"resnet.embedder.*": 0.1}``. Of several patterns that match, the last one counts; without any it is 1.

    Returns
    -------
    list of ParameterGroup
        In the order of their first parameter.

    Raises
    ------
    ValueError
        If a pattern matches nothing (with names that are near), a number is negative or not finite, or all
        parameters are frozen.
    """
    decay = check_not_negative("weight_decay", weight_decay)
    parameters = dict(model.named_parameters())
    scale_of = dict.fromkeys(parameters, 1.0)
    for pattern, scale in (lr_scales or {}).items():
        scale = check_not_negative(f"lr_scales[{pattern!r}]", scale)
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching:
            near = difflib.get_close_matches(pattern, parameters, n=3, cutoff=0.4) or list(parameters)[:3]
            raise ValueError(f"no parameter matches {pattern!r} of lr_scales; names near it are {', '.join(near)}")
        scale_of.update(dict.fromkeys(matching, scale))

    groups: dict[tuple[float, float], dict[str, Parameter]] = {}
    for name, parameter in parameters.items():
        if parameter.requires_grad:
            is_weight = len(parameter.shape) > 1  # norms and biases have one axis
            key = (scale_of[name], decay if is_weight or decay_norms_and_biases else 0.0)
            groups.setdefault(key, {})[name] = parameter
    if not groups:
        raise ValueError("all parameters of the model are frozen, nothing can learn; call model.unfreeze(pattern)")
    return [
        ParameterGroup(tuple(members), tuple(members.values()), scale, decay)
        for (scale, decay), members in groups.items()
    ]


def layerwise_lr_scales(model: Module, decay: float) -> dict[str, float]:
    """Return ``lr_scales`` that grow from the stem to the classifier (Howard & Ruder 2018, arXiv:1801.06146).

    Parameters
    ----------
    model : Module
        With a stem and stages, such as a :class:`~npresnet.ResNetForImageClassification`.
    decay : float
        The classifier has factor 1, the last stage ``decay``, the stage before ``decay ** 2``, and so on down to the
        stem.

    Returns
    -------
    dict of pattern to float
        For :func:`parameter_groups`.

    Raises
    ------
    ValueError
        If ``decay`` is not in (0, 1], or the model has no stem and stages.
    """
    decay = check_number("decay", decay)
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be in (0, 1], found {decay!r}; 1 lets all layers learn alike")
    parts = [name for name, module in model.named_modules() if isinstance(module, (ResNetEmbeddings, ResNetStage))]
    if not parts:
        raise ValueError(f"a {type(model).__name__} has no stem and stages; give lr_scales by name")
    scales = {f"{name}.*": decay ** (len(parts) - number) for number, name in enumerate(parts)}
    for name, _ in model.named_parameters():
        if not any(fnmatchcase(name, pattern) for pattern in scales):
            scales[f"{name.partition('.')[0]}.*"] = 1.0  # the head
    return scales
