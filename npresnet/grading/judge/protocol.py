"""What crosses the pipes: frames of a JSON header and raw bytes of arrays.

::

    magic (4 bytes) | length of the header (4) | length of the payload (8) | header: JSON | payload: arrays, end to end

The header lists name, dtype and shape of every array under ``arrays``. Nothing is ever unpickled. The judge trusts no
byte that comes from the other side: sizes are limited, and a header must describe its payload exactly. Both sides use
this file, so it imports NumPy and the standard library alone.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAGIC = b"npJ1"
HEAD = struct.Struct("<4sIQ")
MAX_HEADER = 1 << 20  # bytes
MAX_PAYLOAD = 256 << 20  # bytes
MAX_DIMENSIONS = 32
DTYPES = frozenset(
    ["bool", "float16", "float32", "float64", "complex64", "complex128"]
    + [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
)


class ProtocolError(Exception):
    """Bytes that are no frame, or a frame that is not what its header says."""


class Frame(NamedTuple):
    """One message."""

    header: dict[str, Any]
    payload: bytes

    @property
    def kind(self) -> str:
        """What the message is; an empty string if it does not say."""
        kind = self.header.get("kind")
        return kind if isinstance(kind, str) else ""

    def arrays(self) -> list[tuple[str, Array]]:
        """Names and arrays of the payload, in their order.

        Raises
        ------
        ProtocolError
            If the header does not describe the payload.
        """
        return list(_arrays(self.header.get("arrays", []), self.payload))


def pack(header: Mapping[str, Any], arrays: Iterable[tuple[str, Array]] = ()) -> bytes:
    """A frame. Arrays are copied in C order; the header tells how they lie in memory, for :func:`laid_out`."""
    described, parts = [], []
    for name, array in arrays:
        described.append({"name": name, "dtype": array.dtype.name, "shape": array.shape, **_layout(array)})
        parts.append(array.tobytes())
    text = json.dumps({**header, "arrays": described}, allow_nan=True).encode()
    return b"".join([HEAD.pack(MAGIC, len(text), sum(map(len, parts))), text, *parts])


class Parser:
    """Cuts a stream of bytes into frames."""

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._bytes = bytearray()
        self._max_payload = max_payload

    def feed(self, data: bytes) -> None:
        """Take in what was read."""
        self._bytes += data

    @property
    def pending(self) -> bool:
        """Whether there are bytes that no frame has been made of."""
        return bool(self._bytes)

    def frame(self) -> Frame | None:
        """The next frame, or None while it is not complete.

        Raises
        ------
        ProtocolError
            If the bytes are no frame, or a frame beyond the limits.
        """
        magic = bytes(self._bytes[: len(MAGIC)])
        if magic != MAGIC[: len(magic)]:
            raise ProtocolError("bytes that are no frame")
        if len(self._bytes) < HEAD.size:
            return None
        _, header_size, payload_size = HEAD.unpack_from(self._bytes)
        if header_size > MAX_HEADER or payload_size > self._max_payload:
            raise ProtocolError(f"a frame of {header_size + payload_size} bytes, which is too large")
        end = HEAD.size + header_size + payload_size
        if len(self._bytes) < end:
            return None
        text = bytes(self._bytes[HEAD.size : HEAD.size + header_size])
        payload = bytes(self._bytes[HEAD.size + header_size : end])
        del self._bytes[:end]
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):  # also text that is not UTF-8
            raise ProtocolError("a header that is not JSON") from None
        if not isinstance(header, dict):
            raise ProtocolError("a header that is not a JSON object")
        return Frame(header, payload)


def laid_out(array: Array, description: Mapping[str, Any]) -> Array:
    """A fresh, writable copy with its axes in memory as they were on the other side, and with gaps where there were."""
    axes = description.get("axes", list(range(array.ndim)))
    shape = [array.shape[axis] for axis in axes]
    if description.get("gaps"):
        view = np.zeros([*shape[:-1], 2 * shape[-1]], array.dtype)[..., ::2]
    else:
        view = np.zeros(shape, array.dtype)
    view = view.transpose(np.argsort(axes))
    view[...] = array
    return view


def _layout(array: Array) -> dict[str, Any]:
    """The order of the axes in memory, outermost first, and whether there are gaps; nothing if C-contiguous."""
    if array.ndim == 0 or array.flags.c_contiguous:
        return {}
    axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return {"axes": axes, "gaps": not array.transpose(axes).flags.c_contiguous}


def _arrays(described: Any, payload: bytes) -> Iterable[tuple[str, Array]]:
    if not isinstance(described, list):
        raise ProtocolError("a header without a list of arrays")
    start = 0
    for item in described:
        if not isinstance(item, dict):
            raise ProtocolError("a header that describes no array")
        name, dtype, shape = item.get("name"), item.get("dtype"), item.get("shape")
        if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in DTYPES:
            raise ProtocolError(f"an array of dtype {str(dtype)[:40]}")
        if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
            raise ProtocolError("an array without a shape")
        if not all(type(size) is int and 0 <= size <= MAX_PAYLOAD for size in shape):
            raise ProtocolError("an array of an impossible shape")
        size = math.prod(shape)
        end = start + size * np.dtype(dtype).itemsize
        if end > len(payload):
            raise ProtocolError("arrays that are larger than their payload")
        flat = np.frombuffer(payload[start:end], dtype) if size else np.empty(0, dtype)
        if dtype == "bool" and size and np.frombuffer(payload[start:end], np.uint8).max() > 1:
            raise ProtocolError("an array of bool with other bytes than 0 and 1")
        yield name, flat.reshape(shape).copy()
        start = end
    if start != len(payload):
        raise ProtocolError("a payload that is larger than its arrays")
