"""Names of the arrays in the checkpoints of six families, and one table that translates between them.

Inside npresnet an array has its Transformers name, as in the ``state_dict`` of ``ResNetForImageClassification``.
:data:`TABLE` holds one row for each kind of layer; :func:`to_canonical` reads it from right to left,
:func:`from_canonical` from left to right. What a framework stores differently, not only under another name
(transposed kernels, convolution biases, scaled statistics), is brought to PyTorch's form in
:mod:`npresnet.checkpoint.adapt`.

In a template ``{s}``, ``{b}`` and ``{k}`` are the stage, the residual layer in it and the convolution in that, counted
from zero; ``{s+1}`` is the same counted from one. ``{b:block}`` and ``{k:letter}`` are Caffe's letters.
A template matches a whole name, never a part of one: ``layer1.0.conv1`` contains ``conv1``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from .adapt import from_caffe, from_keras, with_folded_convolution_bias
from .errors import CheckpointError

NAMINGS = ("transformers", "torchvision", "timm", "cifar", "caffe", "keras")
"""The namings that :func:`to_canonical` reads; all but the last two can be written."""


class Row(NamedTuple):
    """One kind of layer: its name here and, by naming, elsewhere; of alternatives (``|``) the first is written."""

    variant: str  # the row counts only for networks with this stem or shortcut; "" for every network
    kind: str  # which of LEAVES are the layer's arrays
    canonical: str
    names: dict[str, str]


STEM = "resnet.embedder.embedder"
BLOCK = "resnet.encoder.stages.{s}.layers.{b}"

TABLE = (
    Row("plain stem", "conv", f"{STEM}.convolution",
        {"torchvision": "conv1", "keras": "conv1_conv", "caffe": "conv1"}),
    Row("plain stem", "norm", f"{STEM}.normalization",
        {"torchvision": "bn1", "keras": "conv1_bn", "caffe": "bn_conv1"}),
    Row("plain stem", "scale", f"{STEM}.normalization",
        {"caffe": "scale_conv1"}),
    Row("deep stem", "conv", f"{STEM}.0.convolution", {"timm": "conv1.0"}),
    Row("deep stem", "norm", f"{STEM}.0.normalization", {"timm": "conv1.1"}),
    Row("deep stem", "conv", f"{STEM}.1.convolution", {"timm": "conv1.3"}),
    Row("deep stem", "norm", f"{STEM}.1.normalization", {"timm": "conv1.4"}),
    Row("deep stem", "conv", f"{STEM}.2.convolution", {"timm": "conv1.6"}),
    Row("deep stem", "norm", f"{STEM}.2.normalization", {"timm": "bn1"}),
    Row("", "conv", f"{BLOCK}.layer.{{k}}.convolution",
        {"torchvision": "layer{s+1}.{b}.conv{k+1}",
         "keras": "conv{s+2}_block{b+1}_{k+1}_conv", "caffe": "res{s+2}{b:block}_branch2{k:letter}"}),
    Row("", "norm", f"{BLOCK}.layer.{{k}}.normalization",
        {"torchvision": "layer{s+1}.{b}.bn{k+1}",
         "keras": "conv{s+2}_block{b+1}_{k+1}_bn", "caffe": "bn{s+2}{b:block}_branch2{k:letter}"}),
    Row("", "scale", f"{BLOCK}.layer.{{k}}.normalization",
        {"caffe": "scale{s+2}{b:block}_branch2{k:letter}"}),
    Row("projection", "conv", f"{BLOCK}.shortcut.convolution",
        {"torchvision": "layer{s+1}.{b}.downsample.0",
         "cifar": "layer{s+1}.{b}.shortcut.0|layer{s+1}.{b}.downsample.0",
         "keras": "conv{s+2}_block{b+1}_0_conv", "caffe": "res{s+2}{b:block}_branch1"}),
    Row("projection", "norm", f"{BLOCK}.shortcut.normalization",
        {"torchvision": "layer{s+1}.{b}.downsample.1",
         "cifar": "layer{s+1}.{b}.shortcut.1|layer{s+1}.{b}.downsample.1",
         "keras": "conv{s+2}_block{b+1}_0_bn", "caffe": "bn{s+2}{b:block}_branch1"}),
    Row("projection", "scale", f"{BLOCK}.shortcut.normalization",
        {"caffe": "scale{s+2}{b:block}_branch1"}),
    Row("avg_down", "conv", f"{BLOCK}.shortcut.convolution", {"timm": "layer{s+1}.{b}.downsample.1"}),
    Row("avg_down", "norm", f"{BLOCK}.shortcut.normalization", {"timm": "layer{s+1}.{b}.downsample.2"}),
    Row("", "linear", "classifier.1",
        {"torchvision": "fc", "cifar": "linear|fc", "keras": "predictions|probs|dense|fc1000", "caffe": "fc1000"}),
)  # fmt: skip
"""A ``timm`` or ``cifar`` name that a row does not give is torchvision's."""

# By framework and kind of layer: the name of each array there -> here.
_SAME = {
    "conv": {"weight": "weight", "bias": "bias"},
    "norm": {n: n for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")},
    "linear": {"weight": "weight", "bias": "bias"},
}
_CAFFE_PARAMETERS = {"0": "weight", "weight": "weight", "weights": "weight", "1": "bias", "bias": "bias"}
LEAVES: dict[str, dict[str, dict[str, str]]] = {
    **dict.fromkeys(("transformers", "torchvision", "timm", "cifar"), _SAME),
    "keras": {
        "conv": {"kernel": "weight", "bias": "bias", "vars/0": "weight", "vars/1": "bias"},
        "norm": {
            "gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var",
            "vars/0": "weight", "vars/1": "bias", "vars/2": "running_mean", "vars/3": "running_var",
        },
        "linear": {"kernel": "weight", "bias": "bias", "vars/0": "weight", "vars/1": "bias"},
    },
    "caffe": {
        "conv": _CAFFE_PARAMETERS,
        "norm": {
            "0": "running_mean", "mean": "running_mean", "1": "running_var", "var": "running_var",
            "variance": "running_var", "2": "factor", "factor": "factor", "scale_factor": "factor",
        },
        "scale": {**_CAFFE_PARAMETERS, "gamma": "weight", "scale": "weight", "beta": "bias"},
        "linear": _CAFFE_PARAMETERS,
    },
}  # fmt: skip

# How a key splits into the layer and the array in it.
_TORCH_KEY = re.compile(r"(.+)\.([^.]+)")
_KEYS: dict[str, re.Pattern[str]] = {
    **dict.fromkeys(("transformers", "torchvision", "timm", "cifar"), _TORCH_KEY),
    "keras": re.compile(r"(?:.+/)?(?!vars/)([^/]+)/(vars/\d+|[^/:]+)(?::\d+)?"),
    "caffe": re.compile(rf"(.+?)[/._:]({'|'.join(sorted({x for k in LEAVES['caffe'].values() for x in k}))})"),
}
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.|model\.)+")  # DataParallel, torch.compile, a Lightning module
_DEEP_STEM = re.compile(r"conv1\.0\.|(?:resnet\.)?embedder\.embedder\.0\.")  # timm's name, and ours
_HARMLESS = re.compile(
    r"(?:.+\.)?(?:total_ops|total_params)"  # left by the thop profiler
    r"|(?:optimizer|optimizer_weights|top_level_model_weights)/.+"  # beside the weights in a Keras file
)
_KERAS_3 = re.compile(r"(?:.+/)?layers/(?:conv2d|batch_normalization|dense)(?:_\d+)?/vars/\d+")


def to_canonical(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """Bring the arrays of a checkpoint to Transformers' names and PyTorch's form.

    Parameters
    ----------
    arrays : mapping of str to array
        As the file gives them. Leading ``module.``, ``_orig_mod.`` and ``model.`` are removed. PyTorch-like namings
        have dotted keys, also without the prefix ``resnet.`` (ResNetModel, ResNetBackbone). Keras keys are the paths
        of an HDF5 file, ``conv1_conv/conv1_conv/kernel:0``, or Keras 3's ``conv1_conv/kernel`` and
        ``conv1_conv/vars/0``; only the layer's name and what follows counts. (A ``.weights.h5`` of Keras 3 has
        ``layers/conv2d/vars/0``, and the layer's name in the attribute ``name`` of the group ``vars``.) Caffe keys are
        the layer's name, one of ``/ . _ :`` and the index or the name of the blob: ``conv1/0``, ``bn_conv1.mean``.

    Returns
    -------
    canonical : dict of str to array
        Convolutions (O, I, kh, kw), the classifier (O, I). Biases of convolutions are folded into the running mean
        of the BatchNorm behind them.
    naming : str
        One of :data:`NAMINGS`. ResNets with torchvision's names are ``"timm"`` if they have timm's deep stem or
        average-pooled shortcut, and ``"cifar"`` if their stem is a 3x3 convolution.

    Raises
    ------
    CheckpointError
        If the arrays are not those of a ResNet, if some do not belong to one, or if two have the same meaning.
    """
    arrays = {key: array for key, array in arrays.items() if not _HARMLESS.fullmatch(key)}
    if not arrays:
        raise CheckpointError("the checkpoint holds no arrays; expected those of a ResNet")
    naming, found = _detect(arrays)
    _check_renaming(arrays, naming, found)
    canonical = {new: arrays[old] for old, new in found.items()}
    if naming == "keras":
        canonical = from_keras(canonical)
    elif naming == "caffe":
        canonical = from_caffe(canonical)
    return with_folded_convolution_bias(canonical), naming


def from_canonical(
    arrays: Mapping[str, np.ndarray], naming: str, shortcut_type: str = "projection"
) -> dict[str, np.ndarray]:
    """Rename arrays with Transformers' names for another framework: the inverse of :func:`to_canonical`.

    Parameters
    ----------
    arrays : mapping of str to array
        With canonical names; the arrays themselves are passed on unchanged.
    naming : {"transformers", "torchvision", "timm", "cifar"}
        ``"cifar"`` is torchvision's naming with the head ``linear`` and projections ``shortcut.0`` and ``shortcut.1``.
    shortcut_type : str
        That of the configuration: in timm an average-pooled shortcut shifts the names of the arrays behind the pool.

    Raises
    ------
    CheckpointError
        If the naming is unknown or only read, or has no name for one of the arrays (torchvision for a deep stem).
    """
    if naming not in NAMINGS:
        raise CheckpointError(f"unknown naming {naming!r}; known are {', '.join(NAMINGS)}")
    if naming in ("keras", "caffe"):
        raise CheckpointError(f"{naming} names are read but not written; use {', '.join(NAMINGS[:4])}")
    rules = _rules(naming, any(key.startswith(f"{STEM}.0.") for key in arrays), shortcut_type == "avg_down")
    renamed: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        new = _written_name(key, rules)
        if new is None:
            raise CheckpointError(
                f"{key!r} has no name in the {naming} naming; expected the arrays of a ResNet under Transformers' "
                "names, and naming='timm' for a deep stem or average-pooled shortcuts"
            )
        renamed[new] = array
    return renamed


def shortcut_type_of(keys: Iterable[str]) -> str | None:
    """Return ``"avg_down"`` if raw keys show timm's average-pooled shortcut, which shapes do not, else None."""
    return "avg_down" if _has_avg_down(_unwrapped(key) for key in keys) else None


def _detect(arrays: Mapping[str, np.ndarray]) -> tuple[str, dict[str, str]]:
    """The naming that explains most keys, the first of equals, and the translation of those keys."""
    plain = {key: _unwrapped(key) for key in arrays}
    deep, avg_down = any(map(_DEEP_STEM.match, plain.values())), _has_avg_down(plain.values())
    naming = ""
    found: dict[str, str] = {}
    for candidate in NAMINGS:
        rules = _rules(candidate, deep, avg_down)
        renamed = ((key, _read_name(name, candidate, rules)) for key, name in plain.items())
        explained = {key: new for key, new in renamed if new is not None}
        if len(explained) > len(found):
            naming, found = candidate, explained
        if len(found) == len(plain):
            break
    if naming == "torchvision" and any(
        new == f"{STEM}.convolution.weight" and np.shape(arrays[key])[2:] == (3, 3) for key, new in found.items()
    ):
        naming = "cifar"
    return naming, found


def _check_renaming(arrays: Mapping[str, np.ndarray], naming: str, found: Mapping[str, str]) -> None:
    if not any(new.startswith("resnet.encoder.stages.") for new in found.values()):
        if any(_KERAS_3.fullmatch(key) for key in arrays):
            raise CheckpointError(
                "this Keras 3 file names its layers only by class and number (layers/conv2d_1/vars/0), which does not "
                "say where they belong. In Keras, write the weights under the layers' names: "
                "numpy.savez('weights.npz', **{w.path: w.numpy() for w in model.weights})"
            )
        if "training" in arrays and any(key.startswith("model/") for key in arrays):
            raise CheckpointError(
                "this is the state of a training, to go on from with: npresnet train --resume DIRECTORY. The weights "
                "to use are in best.npz beside it once an epoch is over; the path of its directory stands for them too"
            )
        raise CheckpointError(
            f"no ResNet: the {len(arrays)} arrays are named {_some(arrays)}. Expected the names of "
            f"{', '.join(NAMINGS)}, such as 'resnet.encoder.stages.0.layers.0.layer.0.convolution.weight', "
            "'layer1.0.conv1.weight', 'res2a_branch2a/0' or 'conv2_block1_1_conv/kernel:0'"
        )
    unknown = [key for key in arrays if key not in found]
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} of {len(arrays)} arrays do not belong to a ResNet in the {naming} naming: "
            f"{_some(unknown)}. Another architecture, or a ResNet with further parts? Remove these arrays if the "
            "network does not need them"
        )
    first: dict[str, str] = {}
    for old, new in found.items():
        if new in first:
            raise CheckpointError(f"{first[new]!r} and {old!r} both mean {new!r}; keep one of the two")
        first[new] = old


def _some(keys: Iterable[str], limit: int = 5) -> str:
    keys = list(keys)
    return ", ".join(map(repr, keys[:limit])) + (", ..." if len(keys) > limit else "")


def _unwrapped(key: str) -> str:
    return _WRAPPERS.sub("", key, count=1) if _WRAPPERS.match(key) else key


def _has_avg_down(names: Iterable[str]) -> bool:
    return any(re.match(r"layer\d+\.\d+\.downsample\.2\.", name) for name in names)


def _read_name(name: str, naming: str, rules: list[_Rule]) -> str | None:
    """The canonical name of an array with this name in another naming, or None."""
    split = _KEYS[naming].fullmatch(name)
    if split is None:
        return None
    layer, leaf = split.groups()
    for rule in rules:
        new = LEAVES[naming][rule.kind].get(leaf)
        if new is not None:
            for template in rule.names:
                indices = template.match(layer)
                if indices is not None:
                    return f"{rule.canonical.fill(indices)}.{new}"
    return None


def _written_name(name: str, rules: list[_Rule]) -> str | None:
    """The name of an array in a PyTorch-like naming, whose leaves are ours, or None."""
    split = _TORCH_KEY.fullmatch(name)
    if split is None:
        return None
    layer, leaf = split.groups()
    for rule in rules:
        indices = rule.canonical.match(layer)
        if indices is not None and leaf in _SAME[rule.kind]:
            return f"{rule.names[0].fill(indices)}.{leaf}"
    return None


class _Template:
    """A name with indices in it, as a pattern and as a format."""

    # How an index is written -> the pattern of its text, and the text's value counted from zero.
    READERS: ClassVar[dict[str, tuple[str, Callable[[str], int]]]] = {
        "": ("0|[1-9][0-9]*", int),
        "+1": ("[1-9][0-9]*", lambda text: int(text) - 1),
        "+2": ("[2-9]|[1-9][0-9]+", lambda text: int(text) - 2),
        ":letter": ("[a-z]", lambda text: ord(text) - ord("a")),
        ":block": ("[a-z]|b[1-9][0-9]*", lambda text: int(text[1:]) if len(text) > 1 else ord(text) - ord("a")),
    }

    def __init__(self, text: str) -> None:
        self._fields: list[tuple[str, str]] = re.findall(r"\{([sbk])([^}]*)\}", text)
        self._literals = re.split(r"\{[^}]*\}", text)  # one more than there are fields
        groups = [f"({self.READERS[style][0]})" for _, style in self._fields] + [""]
        pieces = zip(map(re.escape, self._literals), groups, strict=True)
        self._pattern = re.compile("".join(map("".join, pieces)))

    def match(self, name: str) -> dict[str, int] | None:
        """The indices in a name, counted from zero; None for another name."""
        found = self._pattern.fullmatch(name)
        if found is None:
            return None
        values = zip(self._fields, found.groups(), strict=True)
        return {index: self.READERS[style][1](text) for (index, style), text in values}

    def fill(self, indices: Mapping[str, int]) -> str:
        """The name with these indices."""
        numbers = [str(indices[index] + int(style or 0)) for index, style in self._fields] + [""]
        return "".join(map("".join, zip(self._literals, numbers, strict=True)))


class _Rule(NamedTuple):
    kind: str
    canonical: _Template
    names: tuple[_Template, ...]


@lru_cache
def _rules(naming: str, deep_stem: bool, avg_down: bool) -> list[_Rule]:
    """The rows of the table that count for one naming and one variant of the network."""
    variants = {"", "deep stem" if deep_stem else "plain stem", "avg_down" if avg_down else "projection"}
    rules = []
    for row in TABLE:
        if naming == "transformers":
            names = f"{row.canonical}|{row.canonical.removeprefix('resnet.')}"
        else:
            names = row.names.get(naming, row.names.get("torchvision", "") if naming in ("timm", "cifar") else "")
        if names and row.kind in LEAVES[naming] and row.variant in variants:
            rules.append(_Rule(row.kind, _Template(row.canonical), tuple(map(_Template, names.split("|")))))
    return rules
