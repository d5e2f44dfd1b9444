"""The configuration of a ResNet: one frozen dataclass that says everything about an architecture.

The first block of fields are those of Transformers' ``ResNetConfig``, with its defaults and meaning; the second
block is what the other families (torchvision, timm, CIFAR, Caffe) need, with defaults that leave a Transformers
ResNet unchanged. Named presets live in :data:`PRESETS`.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .config_fields import (
    FOREIGN_KEYS,
    GENERATION_KEYS,
    check_integer,
    check_integers,
    check_names,
    check_number,
    resolve_labels,
    resolve_out_stages,
)

ACTIVATION_ALIASES = {"swish": "silu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "linear": "identity"}
ACTIVATION_NAMES = (
    "relu", "relu6", "leaky_relu", "gelu", "gelu_tanh", "silu", "elu", "mish", "hardswish",
    "tanh", "sigmoid", "identity",
)  # fmt: skip

CHOICES: dict[str, tuple[Any, ...]] = {
    "layer_type": ("basic", "bottleneck"),
    "stem_type": ("basic", "cifar", "deep", "deep_tiered"),
    "stem_pool": ("max", "caffe"),
    "shortcut_type": ("projection", "zero_pad", "avg_down", "none"),
    "output_stride": (8, 16, 32),
    "global_pool": ("avg", "max", "avgmax", "catavgmax"),
    "problem_type": (None, "regression", "single_label_classification", "multi_label_classification"),
    "hidden_act": ACTIVATION_NAMES + tuple(ACTIVATION_ALIASES),
}
FLAGS = (
    "downsample_in_first_stage", "downsample_in_bottleneck", "output_hidden_states", "return_dict", "zero_init_last",
)  # fmt: skip


class StageGeometry(NamedTuple):
    """How a stage changes resolution: its stride, the dilation before it and in it, and the reduction behind it."""

    stride: int
    dilation_before: int
    dilation: int
    reduction: int


@dataclass(frozen=True)
class ResNetConfig:
    """Architecture and labels of a ResNet.

    Parameters
    ----------
    num_channels : int
        Channels of the input image.
    embedding_size : int
        Channels that leave the stem.
    hidden_sizes : tuple of int
        Output channels of each stage (of the last convolution: 256, 512, ... for a bottleneck).
    depths : tuple of int
        Residual layers in each stage.
    layer_type : {"bottleneck", "basic"}
        Bottleneck (1x1, 3x3, 1x1) or basic (3x3, 3x3) residual layers.
    hidden_act : str
        Of the stem and behind each residual sum (between the convolutions of a residual layer it is ReLU): one of
        :data:`ACTIVATION_NAMES`, or an alias that Transformers knows.
    downsample_in_first_stage : bool
        Give the first stage stride 2.
    downsample_in_bottleneck : bool
        Put the stride on the first 1x1 convolution (the paper, "v1") in place of the 3x3 ("v1.5").
    num_labels, id2label, label2id
        Classes of the head; ``num_labels=0`` leaves it out. Either determines the other.
    problem_type : str or None
        ``"regression"``, ``"single_label_classification"``, ``"multi_label_classification"``; None infers it.
    out_features, out_indices
        Stages that a :class:`~npresnet.ResNetBackbone` returns, by name or by index; the last by default.
    output_hidden_states, return_dict : bool
        Defaults of the arguments of the same name when a model is called.
    stem_type : {"basic", "cifar", "deep", "deep_tiered"}
        7x7 stride 2 and a max-pool; 3x3 stride 1 without a pool (He et al. 2015, section 4.2); three 3x3
        convolutions (ResNet-D, He et al. 2018), of equal or growing width.
    stem_width : int
        Channels of the first convolutions of a deep stem.
    stem_pool : {"max", "caffe"}
        3x3 stride 2 max-pool with padding 1, or without padding and in ceil mode as the authors' Caffe models.
    shortcut_type : {"projection", "zero_pad", "avg_down", "none"}
        1x1 convolution (option B of the paper), subsampling and zero channels (option A, no parameters), or
        2x2 average pool and 1x1 convolution (ResNet-D). With ``"none"`` no layer has a shortcut, not even an
        identity: the plain networks that the paper compares with.
    groups, width_per_group : int
        Grouped and wide bottlenecks: ResNeXt-50 32x4d has 32 and 4, Wide ResNet-50-2 has 1 and 128.
    output_stride : {32, 16, 8}
        Trade the stride of the last stages for dilation.
    global_pool : {"avg", "max", "avgmax", "catavgmax"}
        Pooling before the classifier.
    zero_init_last : bool
        Start the last BatchNorm weight of each residual layer at zero (Goyal et al. 2017).
    drop_path_rate : float
        Stochastic depth (Huang et al. 2016): probability for the last layer, growing linearly from zero.
    dropout : float
        Dropout probability before the classifier.
    batch_norm_eps, batch_norm_momentum : float
        Of every BatchNorm; momentum as in PyTorch, the weight of the *new* value.

    Raises
    ------
    ValueError
        If a field is out of range or two fields contradict each other; the message says which and what to do.

    References
    ----------
    ``transformers.ResNetConfig``; He et al. 2015, arXiv:1512.03385; He et al. 2018, arXiv:1812.01187;
    Xie et al. 2017, arXiv:1611.05431; Zagoruyko & Komodakis 2016, arXiv:1605.07146.

    Examples
    --------
    >>> ResNetConfig(layer_type="basic", hidden_sizes=(64, 128, 256, 512), depths=(2, 2, 2, 2)).stage_names
    ('stem', 'stage1', 'stage2', 'stage3', 'stage4')
    """

    num_channels: int = 3
    embedding_size: int = 64
    hidden_sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    layer_type: str = "bottleneck"
    hidden_act: str = "relu"
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False
    num_labels: int = None  # type: ignore[assignment]  # resolved below: len(id2label), or 2 as in Transformers
    id2label: dict[int, str] = None  # type: ignore[assignment]  # resolved below
    label2id: dict[str, int] = None  # type: ignore[assignment]  # resolved below
    problem_type: str | None = None
    out_features: tuple[str, ...] = None  # type: ignore[assignment]  # resolved below
    out_indices: tuple[int, ...] = None  # type: ignore[assignment]  # resolved below
    output_hidden_states: bool = False
    return_dict: bool = True

    stem_type: str = "basic"
    stem_width: int = 32
    stem_pool: str = "max"
    shortcut_type: str = "projection"
    groups: int = 1
    width_per_group: int = 64
    output_stride: int = 32
    global_pool: str = "avg"
    zero_init_last: bool = False
    drop_path_rate: float = 0.0
    dropout: float = 0.0
    batch_norm_eps: float = 1e-5
    batch_norm_momentum: float = 0.1

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_combinations()
        labels = resolve_labels(self.num_labels, self.id2label, self.label2id)
        for name, value in zip(("num_labels", "id2label", "label2id"), labels, strict=True):
            self._set(name, value)
        stages = resolve_out_stages(self.out_features, self.out_indices, self.stage_names)
        for name, value in zip(("out_features", "out_indices"), stages, strict=True):
            self._set(name, value)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen; only __post_init__ resolves fields

    def _check_choices(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or value not in choices:
                options = ", ".join(map(repr, choices))
                raise ValueError(f"{name}={value!r} is not known; choose one of {options}")
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, found {getattr(self, name)!r}")

    def _check_numbers(self) -> None:
        for name in ("num_channels", "embedding_size", "stem_width", "groups", "width_per_group"):
            self._set(name, check_integer(name, getattr(self, name), 1))
        for name in ("hidden_sizes", "depths"):
            self._set(name, check_integers(name, getattr(self, name), "one for each stage", 1))
        if len(self.depths) != len(self.hidden_sizes) or not self.depths:
            raise ValueError(
                f"depths and hidden_sizes must name the same stages, found {len(self.depths)} depths "
                f"{self.depths} and {len(self.hidden_sizes)} hidden sizes {self.hidden_sizes}"
            )
        for name in ("drop_path_rate", "dropout", "batch_norm_eps", "batch_norm_momentum"):
            self._set(name, check_number(name, getattr(self, name)))
        for name in ("drop_path_rate", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a probability in [0, 1), found {getattr(self, name)!r}")
        if not self.batch_norm_eps > 0:
            raise ValueError(f"batch_norm_eps must be positive, found {self.batch_norm_eps!r}")
        if not 0 <= self.batch_norm_momentum <= 1:
            raise ValueError(f"batch_norm_momentum must be in [0, 1], found {self.batch_norm_momentum!r}")

    def _check_combinations(self) -> None:
        if self.layer_type == "basic" and (self.groups, self.width_per_group) != (1, 64):
            raise ValueError(
                f"groups={self.groups} and width_per_group={self.width_per_group} need layer_type='bottleneck': "
                "a basic layer has neither groups nor an inner width"
            )
        if self.layer_type == "basic" and self.downsample_in_bottleneck:
            raise ValueError("downsample_in_bottleneck=True needs layer_type='bottleneck'")
        if self.stem_type == "cifar" and self.stem_pool != "max":
            raise ValueError(f"a CIFAR stem has no pool, so stem_pool={self.stem_pool!r} contradicts stem_type='cifar'")
        if self.stem_type == "deep_tiered" and self.stem_width < 4:
            raise ValueError(f"stem_type='deep_tiered' needs stem_width >= 4, found {self.stem_width}")
        if self.layer_type == "bottleneck":
            for size in self.hidden_sizes:
                if size < 4:
                    raise ValueError(f"a bottleneck narrows to a quarter of hidden_sizes, so each must be >= 4: {size}")
                if self.bottleneck_width(size) < 1:
                    raise ValueError(f"width_per_group={self.width_per_group} leaves no channel at hidden size {size}")
        if self.shortcut_type == "none":
            for name in ("zero_init_last", "drop_path_rate"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} contradicts shortcut_type='none': without a shortcut nothing "
                        "would pass where the layer gives zero"
                    )
        if self.shortcut_type == "zero_pad":
            sizes = (self.embedding_size, *self.hidden_sizes)
            for before, after in itertools.pairwise(sizes):
                if after < before:
                    raise ValueError(
                        f"shortcut_type='zero_pad' can only add channels, found {before} -> {after}; "
                        "use shortcut_type='projection'"
                    )

    @property
    def stage_names(self) -> tuple[str, ...]:
        """``("stem", "stage1", ...)``, the names of :class:`~npresnet.ResNetBackbone`'s feature maps."""
        return ("stem", *(f"stage{i + 1}" for i in range(len(self.depths))))

    @property
    def stage_geometry(self) -> list[StageGeometry]:
        """Of every stage. Where an ``output_stride`` below 32 is reached, further strides become dilation."""
        limit = self.output_stride if self.output_stride < 32 else math.inf
        reduction, dilation = 1 if self.stem_type == "cifar" else 4, 1
        stages = []
        for index in range(len(self.depths)):
            stride, before = 2 if index > 0 or self.downsample_in_first_stage else 1, dilation
            if reduction * stride > limit:
                dilation, stride = dilation * stride, 1
            reduction *= stride
            stages.append(StageGeometry(stride, before, dilation, reduction))
        return stages

    @property
    def activation(self) -> str:
        """``hidden_act`` with its aliases resolved."""
        return ACTIVATION_ALIASES.get(self.hidden_act, self.hidden_act)

    @property
    def num_features(self) -> int:
        """Width of the pooled feature vector that the classifier sees."""
        return self.hidden_sizes[-1] * (2 if self.global_pool == "catavgmax" else 1)

    def bottleneck_width(self, out_channels: int) -> int:
        """Channels of the 3x3 convolution inside a bottleneck with ``out_channels`` outputs."""
        return int(out_channels // 4 * (self.width_per_group / 64)) * self.groups

    def replace(self, **changes: Any) -> ResNetConfig:
        """Return a copy with some fields changed; labels and output stages follow what they derive from."""
        check_names(changes, _FIELD_NAMES)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        labels = {"num_labels", "id2label", "label2id"}
        if changes.get("num_labels", self.num_labels) != self.num_labels or changes.keys() & (labels - {"num_labels"}):
            fields.update(dict.fromkeys(labels))
        stages = {"out_features", "out_indices"}
        if changes.keys() & (stages | {"depths", "hidden_sizes"}):
            fields.update(dict.fromkeys(stages))
        return ResNetConfig(**{**fields, **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResNetConfig:
        """Build a configuration from the content of a Transformers or npresnet ``config.json``.

        Raises
        ------
        ValueError
            For another ``model_type``, for an unknown field (with the nearest known name) and for bad values.
        """
        model_type = values.get("model_type", "resnet")
        if model_type != "resnet":
            raise ValueError(f"this configuration describes a {model_type!r} model, expected model_type 'resnet'")
        own = {k: v for k, v in values.items() if k not in FOREIGN_KEYS and k not in GENERATION_KEYS}
        check_names(own, _FIELD_NAMES)
        if own.get("layer_type") == "basic":
            own.pop("downsample_in_bottleneck", None)  # Transformers ignores it there
        return cls(**own)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a ``config.json`` that Transformers' ``ResNetConfig`` also reads.

        Fields that Transformers does not know are written only where they differ from their default.
        """
        default = {f.name: f.default for f in dataclasses.fields(self)}
        values: dict[str, Any] = {"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}
        for name in default:
            value = getattr(self, name)
            if name == "num_labels" or (name in EXTRA_FIELDS and value == default[name]):
                continue  # Transformers derives num_labels from id2label
            values[name] = list(value) if isinstance(value, tuple) else value
        values["id2label"] = {str(i): name for i, name in self.id2label.items()}
        return values


_FIELD_NAMES = [f.name for f in dataclasses.fields(ResNetConfig)]
EXTRA_FIELDS = frozenset(_FIELD_NAMES[_FIELD_NAMES.index("stem_type") :])
"""Fields that Transformers' ResNetConfig does not have."""


def tiered_width(width: int) -> int:
    """Channels of the first of three stem convolutions of growing width, as in timm."""
    return 3 * (width // 4)


def _presets() -> dict[str, dict[str, Any]]:
    """Field values by preset name; kept as plain dictionaries so that importing builds no configuration."""
    basic = {"layer_type": "basic", "hidden_sizes": (64, 128, 256, 512), "num_labels": 1000}
    bottleneck = {"layer_type": "bottleneck", "hidden_sizes": (256, 512, 1024, 2048), "num_labels": 1000}
    presets = {
        "resnet18": basic | {"depths": (2, 2, 2, 2)},
        "resnet26": bottleneck | {"depths": (2, 2, 2, 2)},
        "resnet34": basic | {"depths": (3, 4, 6, 3)},
        "resnet50": bottleneck | {"depths": (3, 4, 6, 3)},
        "resnet101": bottleneck | {"depths": (3, 4, 23, 3)},
        "resnet152": bottleneck | {"depths": (3, 8, 36, 3)},
    }
    for depth in (18, 26, 34, 50, 101, 152):
        presets[f"resnet{depth}d"] = presets[f"resnet{depth}"] | {"stem_type": "deep", "shortcut_type": "avg_down"}
    presets["resnext50_32x4d"] = presets["resnet50"] | {"groups": 32, "width_per_group": 4}
    presets["resnext101_32x8d"] = presets["resnet101"] | {"groups": 32, "width_per_group": 8}
    presets["wide_resnet50_2"] = presets["resnet50"] | {"width_per_group": 128}
    presets["wide_resnet101_2"] = presets["resnet101"] | {"width_per_group": 128}
    for depth in (20, 32, 44, 56, 110):  # 6n + 2 layers, He et al. 2015, section 4.2
        presets[f"resnet{depth}"] = {
            "layer_type": "basic", "embedding_size": 16, "hidden_sizes": (16, 32, 64), "num_labels": 10,
            "depths": ((depth - 2) // 6,) * 3, "stem_type": "cifar", "shortcut_type": "zero_pad",
        }  # fmt: skip
    for depth in (20, 32, 44, 56):  # figure 6, left
        presets[f"plain{depth}"] = presets[f"resnet{depth}"] | {"shortcut_type": "none"}
    return presets


PRESETS = _presets()
"""Named architectures: torchvision's and timm's names, and the paper's CIFAR family (resnet20 to resnet110, and plain20
to plain56 without shortcuts)."""


def preset(name: str, **changes: Any) -> ResNetConfig:
    """Return the configuration of a named architecture, with some fields changed.

    Parameters
    ----------
    name : str
        A key of :data:`PRESETS`, such as ``"resnet50"``; case and dashes do not matter.
    **changes
        Fields of :class:`ResNetConfig` to override. ``downsample_in_bottleneck=True`` gives the paper's v1.

    Raises
    ------
    ValueError
        If the name is unknown, with the nearest known ones.
    """
    key = name.lower().replace("-", "_") if name.lower().replace("-", "_") in PRESETS else name.lower().replace("-", "")
    if key not in PRESETS:
        near = difflib.get_close_matches(key, PRESETS, n=3) or sorted(PRESETS)
        raise ValueError(f"unknown architecture {name!r}; did you mean {', '.join(near)}?")
    values = dict(PRESETS[key])
    if changes.keys() & {"id2label", "label2id"}:
        values.pop("num_labels")
    check_names(changes, _FIELD_NAMES)
    return ResNetConfig(**{**values, **changes})
