"""The published ResNet weights that ``npresnet fetch`` knows: where they are, how to verify them, how good they are.

Sources
-------
torchvision
    ``torchvision/models/resnet.py``: file names, sizes, accuracies. The hexadecimal digits in a file name are the
    beginning of its SHA-256. The first files of the two Wide ResNets hold float16 values, hence their small size.
timm
    The model cards on huggingface.co/timm (accuracies at 224 pixels) and the repositories' file pages (SHA-256).
transformers
    The file pages of huggingface.co/microsoft/resnet-*. These weights were converted from timm; their cards state no
    accuracy. ResNet-101 and -152 come as ``pytorch_model.bin``, for which the SHA-256 is known.

Nothing here is guessed: what no source states is None. The sizes of files on the Hugging Face hub, which it shows with
three digits, are computed from the architecture.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from npresnet.config import ResNetConfig, preset
from npresnet.labels import imagenet_labels


@dataclass(frozen=True)
class Architecture:
    """Size of a network for 1000 classes.

    Parameters
    ----------
    parameters : int
        Learnable values.
    gmacs : float
        Billions of multiply-adds for one image of 224x224 (convolutions and classifier).
    mebibytes : float
        All arrays, with running statistics, in float32.
    """

    parameters: int
    gmacs: float
    mebibytes: float


ARCHITECTURES = {
    "resnet18": Architecture(11_689_512, 1.814, 44.63),
    "resnet26": Architecture(15_995_176, 2.342, 61.13),
    "resnet34": Architecture(21_797_672, 3.664, 83.22),
    "resnet50": Architecture(25_557_032, 4.089, 97.70),
    "resnet101": Architecture(44_549_160, 7.801, 170.34),
    "resnet152": Architecture(60_192_808, 11.514, 230.20),
    "resnext50_32x4d": Architecture(25_028_904, 4.230, 95.74),
    "resnext101_32x8d": Architecture(88_791_336, 16.414, 339.49),
    "wide_resnet50_2": Architecture(68_883_240, 11.398, 263.03),
    "wide_resnet101_2": Architecture(126_886_696, 22.753, 484.56),
}


@dataclass(frozen=True)
class PublishedWeights:
    """One published checkpoint.

    Parameters
    ----------
    name : str
        What a user types: ``resnet50``, ``resnet50.v1``, ``resnet50.a1``, ``microsoft/resnet-50``.
    source : {"torchvision", "timm", "transformers"}
        Who published it, which also says how its arrays are named.
    architecture : str
        A name in :data:`~npresnet.config.PRESETS`.
    url : str
        Where the file is.
    sha256 : str or None
        Hexadecimal SHA-256 of the file or its first digits; None if no source states it.
    mebibytes : float
        Size of the file in MiB (2**20 bytes).
    top1, top5 : float or None
        Accuracy in percent on the validation set of ImageNet-1k, preprocessed as ``preprocessing`` says.
    preprocessing : dict
        What the weights expect, in the form of a ``preprocessor_config.json``.
    license : str or None
        Licence of the weights as their publisher states it.
    """

    name: str
    source: str
    architecture: str
    url: str
    sha256: str | None
    mebibytes: float
    top1: float | None
    top5: float | None
    preprocessing: dict[str, Any]
    license: str | None

    @property
    def config(self) -> ResNetConfig:
        """The configuration of the network, with ImageNet's labels."""
        return preset(self.architecture, id2label=dict(enumerate(imagenet_labels())))

    @property
    def parameters(self) -> int:
        """Learnable values."""
        return ARCHITECTURES[self.architecture].parameters

    @property
    def gmacs(self) -> float:
        """Billions of multiply-adds for one image of 224x224."""
        return ARCHITECTURES[self.architecture].gmacs

    @property
    def file_name(self) -> str:
        """Name of the file on disk; on the hub every file is called the same, so the repository comes first."""
        *_, last = self.url.split("/")
        return last if self.source == "torchvision" else "--".join([*self._repository.split("/"), last])

    @property
    def _repository(self) -> str:
        return self.url.removeprefix("https://huggingface.co/").split("/resolve/")[0]


_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_BILINEAR, _BICUBIC = 2, 3  # as in PIL.Image.Resampling


def _resize_and_crop(resize: int, resample: int) -> dict[str, Any]:
    """The evaluation transform of torchvision and timm: shorter edge to ``resize``, then 224 out of the centre."""
    return {
        "image_processor_type": "BitImageProcessor",
        "style": "torchvision",
        "size": {"shortest_edge": resize},
        "resample": resample,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        **_IMAGENET,
    }


def _torchvision(name: str, file: str, resize: int, top1: float, top5: float, mebibytes: float) -> PublishedWeights:
    architecture, sha256 = file.rsplit("-", 1)
    return PublishedWeights(
        name=name,
        source="torchvision",
        architecture=architecture,
        url=f"https://download.pytorch.org/models/{file}.pth",
        sha256=sha256,
        mebibytes=mebibytes,
        top1=top1,
        top5=top5,
        preprocessing=_resize_and_crop(resize, _BILINEAR),
        license="bsd-3-clause",
    )


def _timm(name: str, crop_pct: float, top1: float, top5: float, sha256: str | None) -> PublishedWeights:
    architecture = name.split(".")[0]
    return PublishedWeights(
        name=name,
        source="timm",
        architecture=architecture,
        url=f"https://huggingface.co/timm/{name}_in1k/resolve/main/model.safetensors",
        sha256=sha256,
        mebibytes=ARCHITECTURES[architecture].mebibytes,
        top1=top1,
        top5=top5,
        preprocessing=_resize_and_crop(int(224 / crop_pct), _BICUBIC),
        license="apache-2.0",
    )


def _transformers(depth: int, file: str, sha256: str | None, license: str | None = "apache-2.0") -> PublishedWeights:
    return PublishedWeights(
        name=f"microsoft/resnet-{depth}",
        source="transformers",
        architecture=f"resnet{depth}",
        url=f"https://huggingface.co/microsoft/resnet-{depth}/resolve/main/{file}",
        sha256=sha256,
        mebibytes=ARCHITECTURES[f"resnet{depth}"].mebibytes,
        top1=None,
        top5=None,
        preprocessing={
            "image_processor_type": "ConvNextImageProcessor",
            "size": {"shortest_edge": 224},
            "crop_pct": 0.875,
            "resample": _BICUBIC,
            **_IMAGENET,
        },
        license=license,
    )


_SAFETENSORS, _PICKLE = "model.safetensors", "pytorch_model.bin"

# fmt: off
_TABLE = (
    #             name                  file                          resize  top-1   top-5     MiB
    _torchvision("resnet18",            "resnet18-f37072fd",             256, 69.758, 89.078,  44.66),
    _torchvision("resnet34",            "resnet34-b627a593",             256, 73.314, 91.420,  83.28),
    _torchvision("resnet50",            "resnet50-11ad3fa6",             232, 80.858, 95.434,  97.79),
    _torchvision("resnet50.v1",         "resnet50-0676ba61",             256, 76.130, 92.862,  97.78),
    _torchvision("resnet101",           "resnet101-cd907fc2",            232, 81.886, 95.780, 170.53),
    _torchvision("resnet101.v1",        "resnet101-63fe2227",            256, 77.374, 93.546, 170.51),
    _torchvision("resnet152",           "resnet152-f82ba261",            232, 82.284, 96.002, 230.47),
    _torchvision("resnet152.v1",        "resnet152-394f9c45",            256, 78.312, 94.046, 230.43),
    _torchvision("resnext50_32x4d",     "resnext50_32x4d-1a0047aa",      232, 81.198, 95.340,  95.83),
    _torchvision("resnext50_32x4d.v1",  "resnext50_32x4d-7cdf4587",      256, 77.618, 93.698,  95.79),
    _torchvision("resnext101_32x8d",    "resnext101_32x8d-110c445d",     232, 82.834, 96.228, 339.67),
    _torchvision("resnext101_32x8d.v1", "resnext101_32x8d-8ba56ff5",     256, 79.312, 94.526, 339.59),
    _torchvision("wide_resnet50_2",     "wide_resnet50_2-9ba9bcbe",      232, 81.602, 95.758, 263.12),
    _torchvision("wide_resnet50_2.v1",  "wide_resnet50_2-95faca4d",      256, 78.468, 94.086, 131.82),
    _torchvision("wide_resnet101_2",    "wide_resnet101_2-d733dc28",     232, 82.510, 96.020, 484.75),
    _torchvision("wide_resnet101_2.v1", "wide_resnet101_2-32ee1156",     256, 78.848, 94.284, 242.90),

    #     name       crop   top-1  top-5   sha256
    _timm("resnet18.a1",   .95,  71.504, 90.07, "80c49dee3da4822c009c5a7fe591e9223c5a2cfcf95a4067ca4dfb5a7b89c612"),
    _timm("resnet26.bt",   .875, 75.298, 92.58, None),
    _timm("resnet34.a1",   .95,  76.420, 92.87, None),
    _timm("resnet34.bt",   .875, 75.176, 92.18, None),
    _timm("resnet50.a1",   .95,  80.382, 94.60, "773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb"),
    _timm("resnet101.a1h", .95,  81.950, 95.75, "1a076c0384295e7d3704f201c5711ff245507db934230bab72ff3014a95f90fe"),
    _timm("resnet152.a1h", .95,  82.818, 96.13, None),

    _transformers(18,  _SAFETENSORS, "1cf00ee468998c23d084361b02cffadabacb5074105564c596b8079f77ecb126"),
    _transformers(26,  _SAFETENSORS, None, license=None),
    _transformers(34,  _SAFETENSORS, "1096166c7cf216a7320a6b67b754b1776b99205a44d070c6cb52429af2d136bb"),
    _transformers(50,  _SAFETENSORS, "9c6061af1f450bb0847e529fd742aa5066017be379c71bbf5546b198e5b13a1e"),
    _transformers(101, _PICKLE,      "26233a76cb1e5e7fdbe0b3587ab5f6211a831810f0e32230257cdcd21cf67d2c"),
    _transformers(152, _PICKLE,      "7ebcf680ad55ee87b94142d741d38d9a4355d7c2193b9532d201ef2a8b8dcd7e"),
)
# fmt: on

MANIFEST = {entry.name: entry for entry in _TABLE}
"""Every published checkpoint by its name. A plain torchvision name is its best weights."""


def _aliases(entry: PublishedWeights) -> list[str]:
    """Other spellings of a name: with its source, timm's full name, torchvision's ``.v1`` and ``.v2`` throughout."""
    names = [entry.name]
    if entry.source == "torchvision" and "." not in entry.name:
        version = "v2" if f"{entry.name}.v1" in MANIFEST else "v1"  # resnet18 and resnet34 have one version only
        names.append(f"{entry.name}.{version}")
    elif entry.source == "timm":
        names.append(f"{entry.name}_in1k")
    prefix = "" if entry.source == "transformers" else f"{entry.source}/"
    return names + [prefix + name for name in names]


_BY_ALIAS = {alias: entry for entry in _TABLE for alias in _aliases(entry)}


def find(name: str) -> PublishedWeights:
    """Return the entry called ``name``.

    ``torchvision/NAME``, ``timm/NAME``, ``NAME.v2`` and ``NAME_in1k`` (timm's full name) are understood as well; case
    does not matter.

    Raises
    ------
    ValueError
        If no entry has this name; the message gives the nearest ones.
    """
    key = name.strip().lower()
    if key in _BY_ALIAS:
        return _BY_ALIAS[key]
    near = dict.fromkeys(_BY_ALIAS[alias].name for alias in difflib.get_close_matches(key, _BY_ALIAS, n=5))
    hint = f"; did you mean {', '.join(list(near)[:3])}?" if near else ";"
    raise ValueError(f"no published weights are called {name!r}{hint} `npresnet fetch --list` shows every name")
