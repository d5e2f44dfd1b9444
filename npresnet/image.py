"""From pictures to ``pixel_values``: resize, centre crop, rescale, normalise, as the checkpoint's authors did.

Preprocessing belongs to a checkpoint, not to an architecture. Its fields are those of Transformers'
``preprocessor_config.json``, which describe three kinds of image processor:

- ``ConvNextImageProcessor`` (Transformers' ResNets), when ``crop_pct`` is set. Below 384, the shorter edge becomes
  ``int(size / crop_pct)`` and ``size`` x ``size`` is cut out of the centre; from 384 on, the picture is squashed.
- ``BitImageProcessor``: the shorter edge becomes ``size``, then ``crop_size`` is cut out of the centre.
- ``ViTImageProcessor``: squashed to height and width.

torchvision and timm are of the second kind, with their own rounding of the crop's position (``style``). All of them
resize with Pillow, on 8-bit pixels: antialiased, the result rounded to 8 bits before it is scaled. (The ``...Fast``
classes of Transformers, whose files are read as well, resize tensors: single levels of some pixels differ.)
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet.image_fields import (
    BICUBIC,
    BILINEAR,
    FOREIGN_KEYS,
    KIND_DEFAULTS,
    check_channel_values,
    check_number,
    check_size,
    kind_of,
)
from npresnet.picture import ImageError, ImageSource, find_images, open_image

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageError", "ImageProcessor", "ImageSource", "find_images", "open_image"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)

SQUASH_FROM = 384
"""``ConvNextImageProcessor`` neither keeps the aspect ratio nor crops from this size on."""

MAX_RESIZED_PIXELS = 2**27
"""A very long and thin picture would be resized to more pixels than this (400 MB); it is refused."""


@dataclass(frozen=True)
class ImageProcessor:
    """Turn pictures into the input of a network; the default is that of Transformers' ``microsoft/resnet-50``.

    Parameters
    ----------
    do_resize : bool
        Resize (and, with ``crop_pct``, crop).
    size : dict, int or (int, int)
        ``{"shortest_edge": n}``, or n: keep the aspect ratio; ``{"height": h, "width": w}``, or (h, w): squash.
    crop_pct : float or None
        The fraction of the shorter edge that ``ConvNextImageProcessor`` keeps; None for the other kinds.
    resample : int
        Filter, numbered as in ``PIL.Image.Resampling``: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.
    do_center_crop, crop_size : bool; dict, int or (int, int)
        Cut ``{"height": h, "width": w}`` out of the centre; black where the picture is smaller.
    do_rescale, rescale_factor : bool, float
        Multiply the pixels, 0 to 255, by a factor.
    do_normalize, image_mean, image_std : bool, tuple of float, tuple of float
        Subtract the mean, then divide by the standard deviation of each channel, in the order of ``channel_order``.
    style : {"transformers", "torchvision"}
        Where a centre crop begins if it cannot lie exactly in the centre: ``(H - h) // 2``, or ``round((H - h) / 2)``
        as in torchvision and timm.
    channel_order : {"rgb", "bgr"}
        Order of the channels of the result; Caffe's models want BGR.
    num_channels : {3, 1}
        1 reads every picture as greyscale.

    Raises
    ------
    ValueError
        If a field is out of range or two contradict each other.

    Notes
    -----
    The arithmetic is that of Transformers (``pixel * factor`` in float64, rounded to float32, then ``(x - mean) / std``
    in float32). For 8-bit pixels and a factor of 1/255 it gives the same numbers as torchvision's, to the last bit.

    References
    ----------
    Transformers ``ConvNextImageProcessorPil``, ``BitImageProcessorPil``, ``ViTImageProcessorPil``; torchvision
    ``transforms.functional.center_crop`` and ``resize``; timm ``transforms_factory.transforms_imagenet_eval``.

    Examples
    --------
    >>> ImageProcessor.torchvision()(np.zeros((300, 400, 3), np.uint8)).shape
    (1, 3, 224, 224)
    """

    do_resize: bool = True
    size: Mapping[str, int] = field(default_factory=lambda: {"shortest_edge": 224})
    crop_pct: float | None = 0.875
    resample: int = BICUBIC
    do_center_crop: bool = False
    crop_size: Mapping[str, int] | None = None
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, ...] = IMAGENET_MEAN
    image_std: tuple[float, ...] = IMAGENET_STD
    style: str = "transformers"
    channel_order: str = "rgb"
    num_channels: int = 3

    def __post_init__(self) -> None:
        self._check_choices()
        self._set("size", check_size("size", self.size, square=False))
        if self.do_center_crop and self.crop_size is None:
            raise ValueError("do_center_crop=True needs a crop_size, such as {'height': 224, 'width': 224}")
        self._set("crop_size", check_size("crop_size", self.crop_size, square=True) if self.do_center_crop else None)
        if self.crop_pct is not None:
            self._set("crop_pct", check_number("crop_pct", self.crop_pct))
            if not 0 < self.crop_pct <= 1:
                raise ValueError(f"crop_pct must lie in (0, 1], found {self.crop_pct}")
            if "shortest_edge" not in self.size:
                raise ValueError(f"crop_pct needs a size of {{'shortest_edge': n}}, found {dict(self.size)}")
        self._set("rescale_factor", check_number("rescale_factor", self.rescale_factor))
        for name in ("image_mean", "image_std"):
            self._set(name, check_channel_values(name, getattr(self, name), self.num_channels))
        if self.do_normalize and 0 in self.image_std:
            raise ValueError(f"image_std must not hold zeros, found {self.image_std}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen; only __post_init__ resolves fields

    def _check_choices(self) -> None:
        choices: dict[str, tuple[Any, ...]] = {
            "resample": tuple(range(6)),
            "style": ("transformers", "torchvision"),
            "channel_order": ("rgb", "bgr") if self.num_channels == 3 else ("rgb",),
            "num_channels": (3, 1),
        }
        for name in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, found {getattr(self, name)!r}")
        for name, allowed in choices.items():
            value = getattr(self, name)
            if isinstance(value, bool) or value not in allowed:
                raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(map(repr, allowed))}")
        self._set("resample", int(self.resample))  # a PIL.Image.Resampling is an int too, but not in JSON

    # Presets

    @classmethod
    def transformers(cls, size: int = 224, crop_pct: float = 0.875, **changes: Any) -> ImageProcessor:
        """``ConvNextImageProcessor``, the processor of Transformers' ResNets, with ImageNet's mean and deviation."""
        return cls(**{"size": size, "crop_pct": crop_pct, **changes})

    @classmethod
    def torchvision(cls, resize: int = 256, crop: int = 224, **changes: Any) -> ImageProcessor:
        """torchvision's ``ImageClassification``: bilinear; ``resize=232`` for its IMAGENET1K_V2 weights."""
        values = {
            "size": resize, "crop_pct": None, "do_center_crop": True, "crop_size": crop, "resample": BILINEAR,
            "style": "torchvision",
        }  # fmt: skip
        return cls(**{**values, **changes})

    @classmethod
    def timm(cls, size: int = 224, crop_pct: float = 0.95, **changes: Any) -> ImageProcessor:
        """timm's evaluation transform: the shorter edge to ``floor(size / crop_pct)``, bicubic, then a crop."""
        return cls.torchvision(math.floor(size / crop_pct), size, **{"resample": BICUBIC, **changes})

    @classmethod
    def caffe(cls, resize: int = 256, crop: int = 224, **changes: Any) -> ImageProcessor:
        """Caffe's and Keras's: BGR from 0 to 255 minus ImageNet's mean; resized and cropped as in torchvision."""
        values = {
            "do_rescale": False, "channel_order": "bgr", "image_mean": CAFFE_MEAN_BGR, "image_std": (1.0, 1.0, 1.0),
        }  # fmt: skip
        return cls.torchvision(resize, crop, **{**values, **changes})

    @classmethod
    def cifar(cls, size: int = 32, **changes: Any) -> ImageProcessor:
        """CIFAR's 32 x 32 pictures as they are; any other is resized and cropped. ImageNet's mean and deviation."""
        return cls.torchvision(size, size, **changes)

    def replace(self, **changes: Any) -> ImageProcessor:
        """Return a copy with some fields changed."""
        _check_names(changes)
        return dataclasses.replace(self, **changes)

    def for_channels(self, num_channels: int) -> ImageProcessor:
        """Return a copy for a network with 3 or 1 input channels; mean and deviation are averaged, as in timm."""
        if num_channels == self.num_channels:
            return self
        mean, std = (float(np.mean(values)) for values in (self.image_mean, self.image_std))
        return self.replace(
            num_channels=num_channels,
            image_mean=(mean,) * num_channels,
            image_std=(std,) * num_channels,
            channel_order="rgb",
        )

    # Pictures

    def __call__(self, images: ImageSource | Sequence[ImageSource]) -> np.ndarray:
        """Return the network's input for one picture or several.

        Parameters
        ----------
        images : picture, list or tuple of pictures, or ndarray (N, H, W, C)
            Whatever :func:`~npresnet.picture.open_image` reads.

        Returns
        -------
        ndarray, float32, (N, C, H, W)
            C-contiguous; N = 1 for a single picture.

        Raises
        ------
        ImageError
            If a picture cannot be used, or without resize and crop the pictures differ in size.
        """
        batch: Any = images if isinstance(images, (list, tuple)) else [images]
        if isinstance(images, np.ndarray) and images.ndim == 4:
            batch = images
        if len(batch) == 0:
            raise ImageError("there are no pictures in the list")
        table = self._table()
        values = np.empty(0, np.float32)
        for n, image in enumerate(batch):
            try:
                pixels = self.pixels(image)  # (H, W, C)
            except ImageError as error:
                raise ImageError(f"picture {n} of the list: {error}" if len(batch) > 1 else str(error)) from error
            if n == 0:
                shape = (len(batch), self.num_channels, *pixels.shape[:2])
                values = np.empty(shape, np.float32)
            elif pixels.shape[:2] != shape[2:]:
                raise ImageError(
                    f"picture {n} of the list has (height, width) {pixels.shape[:2]}, the first one {shape[2:]}; "
                    "pass them one by one, or let the processor resize them to one shape"
                )
            for c in range(self.num_channels):
                plane = pixels[:, :, self.num_channels - 1 - c if self.channel_order == "bgr" else c]
                np.take(table[c], plane, out=values[n, c], mode="clip")  # "raise" would go through a buffer
        return values

    def load(self, image: ImageSource) -> Image.Image:
        """Open a picture as this processor reads it: mode ``"RGB"``, or ``"L"`` for one channel."""
        return open_image(image, self.num_channels)

    def pixels(self, image: ImageSource) -> np.ndarray:
        """Return the pixels that the network sees, before rescaling: uint8, (H, W, C), always RGB or grey."""
        picture = self.load(image)
        if self.do_resize:
            picture = self._resize(picture)
        if self.crop_size is not None:
            picture = self._center_crop(picture, self.crop_size["height"], self.crop_size["width"])
        return np.array(picture).reshape(picture.height, picture.width, self.num_channels)

    def _resize(self, picture: Image.Image) -> Image.Image:
        edge = self.size.get("shortest_edge")
        if edge is None:
            return self._resize_to(picture, self.size["height"], self.size["width"])
        if self.crop_pct is None:
            return self._resize_shorter_edge(picture, edge)
        if edge >= SQUASH_FROM:
            return self._resize_to(picture, edge, edge)
        return self._center_crop(self._resize_shorter_edge(picture, int(edge / self.crop_pct)), edge, edge)

    def _resize_shorter_edge(self, picture: Image.Image, edge: int) -> Image.Image:
        width, height = picture.size
        longer = int(edge * max(width, height) / min(width, height))
        return self._resize_to(picture, *((longer, edge) if height > width else (edge, longer)))

    def _resize_to(self, picture: Image.Image, height: int, width: int) -> Image.Image:
        if height * width > MAX_RESIZED_PIXELS:
            raise ImageError(
                f"a picture of {picture.width} x {picture.height} pixels is too long and thin: it would be resized to "
                f"{width} x {height}; cut it first"
            )
        return picture.resize((width, height), self.resample)

    def _center_crop(self, picture: Image.Image, height: int, width: int) -> Image.Image:
        top, left = self._offset(picture.height, height), self._offset(picture.width, width)
        return picture.crop((left, top, left + width, top + height))  # black beyond the edges

    def _offset(self, length: int, crop: int) -> int:
        """Return where a crop begins; negative where the picture is smaller and is padded."""
        slack = length - crop
        if self.style == "transformers":
            return slack // 2
        return round(slack / 2) if slack >= 0 else -(-slack // 2)  # round: halves to even

    def _table(self) -> np.ndarray:
        """Return the float32 value of each 8-bit pixel value in each channel, (C, 256)."""
        values = np.arange(256, dtype=np.float64)
        if self.do_rescale:
            values = values * self.rescale_factor
        table = np.tile(values.astype(np.float32), (self.num_channels, 1))
        if self.do_normalize:
            mean, std = (np.array(v, np.float32)[:, None] for v in (self.image_mean, self.image_std))
            table = (table - mean) / std
        return table

    # preprocessor_config.json

    @property
    def image_processor_type(self) -> str:
        """The class of Transformers that does the same (but for ``style``, ``channel_order`` and ``num_channels``)."""
        if self.crop_pct is not None:
            return "ConvNextImageProcessor"
        return "ViTImageProcessor" if "height" in self.size and not self.do_center_crop else "BitImageProcessor"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageProcessor:
        """Build a processor from the content of a ``preprocessor_config.json``.

        Fields that it leaves out have the default of the Transformers class that it names, ``ConvNextImageProcessor``
        if none. So have fields that are null, but for the switches (``do_...``), which null turns off.

        Raises
        ------
        ValueError
            For another class, for an unknown field (with the nearest known name), for padding and for bad values.
        """
        kind = kind_of(values)
        if values.get("do_pad"):
            raise ValueError("do_pad=True is not supported: every picture must come out at one size by itself")
        own = {k: v for k, v in values.items() if k not in FOREIGN_KEYS | {"do_pad"}}
        _check_names(own)
        own = {k: False if v is None else v for k, v in own.items() if v is not None or k.startswith("do_")}
        if kind != "ConvNext" and "crop_pct" in own:
            raise ValueError(f"crop_pct belongs to a ConvNextImageProcessor, found {kind}ImageProcessor; leave it out")
        if kind == "ViT" and isinstance(own.get("size"), int):
            own["size"] = (own["size"], own["size"])
        return cls(**{**KIND_DEFAULTS[kind], **own})

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a ``preprocessor_config.json`` that Transformers reads as well.

        Fields that Transformers does not know are written only where they differ from their default.
        """
        values: dict[str, Any] = {"image_processor_type": self.image_processor_type}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is None or (f.name in ("style", "channel_order", "num_channels") and value == f.default):
                continue
            values[f.name] = dict(value) if isinstance(value, Mapping) else value
            if isinstance(value, tuple):
                values[f.name] = list(value)
        return values


_FIELD_NAMES = [f.name for f in dataclasses.fields(ImageProcessor)]


def _check_names(values: Mapping[str, Any]) -> None:
    for name in values:
        if name not in _FIELD_NAMES:
            near = difflib.get_close_matches(name, _FIELD_NAMES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known fields are {', '.join(_FIELD_NAMES)}"
            raise ValueError(f"unknown preprocessing field {name!r}{hint}")
