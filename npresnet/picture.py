"""Opening pictures: whatever holds one becomes an 8-bit RGB or greyscale ``PIL.Image``, or a clear error.

The rules, in one place:

- EXIF orientation is applied; of an animation the first frame is taken.
- Transparency is dropped, not blended, as ``image.convert("RGB")`` does in Transformers' and torchvision's pipelines.
- 16-bit samples keep their high byte (``value >> 8``), as Pillow itself reads 16-bit colour. (``convert`` on Pillow's
  16-bit grey modes clips at 255 instead, which turns most such pictures white.)
- Floating-point samples lie in [0, 1] and become ``round(255 * value)``; ``pixels / 255`` thus gives ``pixels`` back.
- An array is ``(H, W)`` or ``(H, W, C)`` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

ImageSource = Union[str, "os.PathLike[str]", bytes, IO[bytes], np.ndarray, "Image.Image"]
"""What :func:`open_image` reads."""

MAX_SIDE = 100_000
"""Most pixels a picture may have along either side."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".tga", ".ico"}
)
"""File suffixes, in lower case, that :func:`find_images` takes for pictures when it walks a directory."""

# EXIF tag 0x0112 -> the name of the PIL.Image.Transpose that sets the picture upright; 1 means upright already.
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip

_OPENING = threading.Lock()  # warnings.catch_warnings changes global state


class ImageError(ValueError):
    """A picture that cannot be used; the message names it and says what was expected and what was found."""


def open_image(source: ImageSource, channels: int = 3) -> Image.Image:
    """Read a picture as 8-bit RGB or greyscale.

    Parameters
    ----------
    source : path, bytes, binary file, PIL.Image.Image or numpy.ndarray
        A path, the content of an image file, an open image file, or a picture in memory (see the module's rules).
        It is not changed.
    channels : {3, 1}
        3 for RGB, 1 for greyscale (ITU-R 601 luma).

    Returns
    -------
    PIL.Image.Image
        A new, decoded picture of mode ``"RGB"`` or ``"L"`` without metadata; opening it again changes nothing.

    Raises
    ------
    ImageError
        If there is no picture, it cannot be decoded, it is too large, or an array has the wrong shape or values.

    Examples
    --------
    >>> open_image(np.zeros((2, 5), np.uint8)).size
    (5, 2)
    """
    from PIL import Image

    if channels not in (1, 3):
        raise ValueError(f"a picture has 3 channels (RGB) or 1 (greyscale), found channels={channels!r}")
    mode = "RGB" if channels == 3 else "L"
    if isinstance(source, np.ndarray):
        return Image.fromarray(_array_to_bytes(source)).convert(mode)
    if isinstance(source, Image.Image):
        return _to_mode(source, mode, f"the {source.mode} picture of size {source.size}")
    name = _describe(source)
    with _open_stream(source, name) as stream:
        return _to_mode(_open_file(stream, name), mode, name)


def find_images(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the pictures that some files and directories stand for.

    Parameters
    ----------
    paths : path or iterable of paths
        A file is taken whatever its suffix. A directory is searched at any depth for files with one of
        :data:`IMAGE_SUFFIXES`; hidden files and directories are left out.

    Returns
    -------
    list of Path
        In the order of ``paths``; the files of one directory are sorted.

    Raises
    ------
    ImageError
        If a path does not exist, or a directory cannot be read or holds no picture.
    """
    found: list[Path] = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        path = Path(path)
        if path.is_dir():
            found.extend(_images_below(path))
        elif path.exists():
            found.append(path)
        else:
            raise ImageError(f"no such file or directory: {str(path)!r}")
    return found


def _images_below(directory: Path) -> list[Path]:
    def unreadable(error: OSError) -> None:
        raise ImageError(f"{error.filename}: cannot read the directory: {error.strerror}") from error

    found = []
    for folder, subfolders, files in os.walk(directory, onerror=unreadable):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if _is_image_name(name)]
    if not found:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise ImageError(f"{str(directory)!r} holds no pictures; looked at every depth for files ending in {known}")
    return sorted(found)


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def _describe(source: Any) -> str:
    """Name a source for an error message."""
    if isinstance(source, (str, os.PathLike)):
        return repr(os.fspath(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"the image data of {len(source)} bytes"
    name = getattr(source, "name", None)
    return f"the open file {name!r}" if isinstance(name, str) else f"the {type(source).__name__} given"


def _open_stream(source: Any, name: str) -> IO[bytes]:
    """Return the encoded picture as a seekable binary stream that the caller closes."""
    if isinstance(source, (str, os.PathLike)):
        return _open_path(source, name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        content: Any = bytes(source)
    elif hasattr(source, "read"):
        if hasattr(source, "seek") and getattr(source, "seekable", lambda: True)():
            source.seek(0)
        content = source.read()
        if not isinstance(content, bytes):
            raise ImageError(f"{name} must be open in binary mode ('rb'), but it reads as {type(content).__name__}")
    else:
        raise ImageError(
            f"cannot read a picture from a {type(source).__module__}.{type(source).__qualname__}; expected a path, "
            "bytes, a binary file, a PIL image or a NumPy array (H, W, C)"
        )
    if not content:
        raise ImageError(f"{name} cannot be a picture: empty (0 bytes)")
    return io.BytesIO(content)


def _open_path(path: str | os.PathLike[str], name: str) -> IO[bytes]:
    if str(path).startswith(("http://", "https://")):
        raise ImageError(f"{name} is a web address; download it first and give the path of the file")
    try:
        stream = open(path, "rb")  # noqa: SIM115  (the caller closes it)
    except FileNotFoundError as error:
        raise ImageError(f"no such picture: {name} (in the directory {os.getcwd()!r})") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a directory, expected one picture; find_images lists those in it") from error
    except (OSError, ValueError) as error:  # no permission, a name too long; ValueError: a null byte in the name
        raise ImageError(f"cannot open {name}: {getattr(error, 'strerror', None) or error}") from error
    if stream.seekable() and stream.seek(0, os.SEEK_END) == 0:
        stream.close()
        raise ImageError(f"{name} cannot be a picture: empty (0 bytes)")
    return stream


def _open_file(stream: IO[bytes], name: str) -> Image.Image:
    """Read the header of an encoded picture; nothing is decoded yet."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(stream)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{name} declares more than {Image.MAX_IMAGE_PIXELS} pixels, too large to decode safely; reduce it, or "
            "if you trust it raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture in a format that Pillow reads (JPEG, PNG, WebP, TIFF, BMP, GIF, ...); "
            "convert it, or check that the file is what its name says"
        ) from error
    except Exception as error:  # a damaged header: the format plugins raise whatever they stumble over
        raise ImageError(f"{name} is damaged: {_reason(error)}") from error
    if image.format == "EPS":  # Pillow would run Ghostscript, a whole programming language, on the file
        raise ImageError(f"{name} is an EPS document, expected a picture made of pixels; export it as PNG")
    return image


def _to_mode(image: Image.Image, mode: str, name: str) -> Image.Image:
    """Decode, set upright and convert to ``mode``, without touching ``image`` or its metadata."""
    from PIL import Image

    _check_sides(image.size, name)
    try:
        image.load()
    except Exception as error:  # cut short or damaged: the format plugins raise whatever they stumble over
        raise ImageError(f"{name} cannot be decoded, is the file complete? {_reason(error)}") from error
    orientation = _orientation(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_deep_to_bytes(image, name))
    if "transparency" in image.info:  # a palette's; Pillow would warn that it is lost
        image = image.copy()
        del image.info["transparency"]
    if orientation in UPRIGHT:
        image = image.transpose(Image.Transpose[UPRIGHT[orientation]])
    try:
        if image.mode == "La":  # the only mode that Pillow does not convert to RGB in one step
            image = image.convert("LA")
        if image.mode not in ("1", "L"):
            image = image.convert("RGB")
        image = image.convert(mode)
    except Exception as error:  # a mode that this build of Pillow cannot convert
        raise ImageError(f"{name} has the mode {image.mode!r}, which does not convert to {mode}: {error}") from error
    image.info = {}  # without its EXIF block the picture is not turned a second time
    return image


def _orientation(image: Image.Image) -> Any:
    try:
        return image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block raises anything; like other viewers, show the picture as it is stored
        return 1


def _deep_to_bytes(image: Image.Image, name: str) -> np.ndarray:
    """Reduce Pillow's modes of more than 8 bits to uint8 (H, W)."""
    pixels = np.asarray(image)  # (H, W)
    if image.mode == "F":
        return _unit_to_bytes(pixels, name)
    if image.mode == "I":
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high > 65535:
            raise ImageError(
                f"{name} has 32-bit samples from {low} to {high}, expected 0 to 255 or 0 to 65535; "
                "scale it to 8 bits first"
            )
        # Mode I is how Pillow opens 16-bit PNG (before 11) and PGM; elsewhere the values have to tell.
        if high <= 255 and image.format not in ("PNG", "PPM"):
            return pixels.astype(np.uint8)
    return (pixels.astype(np.uint16) >> 8).astype(np.uint8)


def _array_to_bytes(array: np.ndarray) -> np.ndarray:
    """Check an array picture and return it as uint8, (H, W) or (H, W, 3)."""
    name = f"the array of shape {array.shape} and dtype {array.dtype}"
    if array.ndim not in (2, 3):
        hint = "; for a batch pass a list of pictures" if array.ndim == 4 else ""
        raise ImageError(f"{name} is not a picture: expected (H, W) or (H, W, C){hint}")
    if array.size == 0:
        raise ImageError(f"{name} is not a picture: it is empty")
    if array.ndim == 3 and array.shape[2] > 4:
        if array.shape[0] <= 4:
            raise ImageError(f"{name} has its channels first; pass array.transpose(1, 2, 0), which is (H, W, C)")
        raise ImageError(f"{name} has {array.shape[2]} channels, expected 1 (grey), 3 (RGB), or 2 or 4 (with alpha)")
    _check_sides((array.shape[1], array.shape[0]), name)
    if array.ndim == 3:
        array = array[:, :, 0] if array.shape[2] <= 2 else array[:, :, :3]  # drops alpha
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        return _unit_to_bytes(array, name)
    if array.dtype.kind not in "iu":
        raise ImageError(f"{name} has no pixel values; expected uint8, uint16 or floats in [0, 1]")
    if array.dtype.newbyteorder("=") == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8 and (array.min() < 0 or array.max() > 255):
        raise ImageError(
            f"{name} has values from {array.min()} to {array.max()}, expected 0 to 255; "
            "16-bit pictures are passed as uint16"
        )
    return np.ascontiguousarray(array, dtype=np.uint8)


def _unit_to_bytes(values: np.ndarray, name: str) -> np.ndarray:
    """Floats in [0, 1] to uint8, to the nearest."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{name} has NaN or infinite values, expected [0, 1]")
    if high > 1:
        hint = "normalised pixels go to the model itself as pixel_values" if low < 0 else "divide by 255 or pass uint8"
        raise ImageError(f"{name} has floating-point values up to {high:.6g}, expected [0, 1]; {hint}")
    if low < 0:
        raise ImageError(f"{name} has floating-point values down to {low:.6g}, expected [0, 1]")
    return np.rint(values * 255).astype(np.uint8)


def _check_sides(size: tuple[int, int], name: str) -> None:
    width, height = size
    if min(size) < 1:
        raise ImageError(f"{name} is empty: {width} x {height} pixels")
    if max(size) > MAX_SIDE:
        raise ImageError(f"{name} has {width} x {height} pixels; at most {MAX_SIDE} a side can be handled")


def _reason(error: Exception) -> str:
    return f"{str(error) or 'no reason given'} ({type(error).__name__})"
