"""Checkpoint files made byte by byte from the formats' descriptions: no PyTorch, and nothing of the code under test."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C

STORAGE_TYPES = {
    "float16": "HalfStorage", "float32": "FloatStorage", "float64": "DoubleStorage", "bfloat16": "BFloat16Storage",
    "bool": "BoolStorage", "uint8": "ByteStorage", "int8": "CharStorage", "int16": "ShortStorage",
    "int32": "IntStorage", "int64": "LongStorage",
}  # fmt: skip

# The pickle language: each function returns the instructions that leave one value on the stack.

NONE, TRUE, FALSE, EMPTY_DICT, EMPTY_LIST = b"N", b"\x88", b"\x89", b"}", b"]"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int | float) -> bytes:
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


def values(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def sizes(*numbers: int) -> bytes:
    return values(*map(number, numbers))


def listed(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def named(items: dict[str, bytes]) -> bytes:
    """An OrderedDict with the _metadata of a module's state dict."""
    body = b"".join(text(key) + value for key, value in items.items())
    return call(name("collections", "OrderedDict")) + b"(" + body + b"u" + mapping(_metadata=EMPTY_DICT) + b"b"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + values(*arguments) + b"R"


def pickled(body: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


# Tensors

NO_HOOKS = call(name("collections", "OrderedDict"))


def storage(key: str, dtype: str, numel: int, *more: bytes) -> bytes:
    """A persistent id; ``more`` is the view of the format before PyTorch 1.6."""
    kind = name("torch", STORAGE_TYPES[dtype])
    return values(text("storage"), kind, text(key), text("cpu"), number(numel), *more) + b"Q"


def tensor(stored: bytes, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, stored, number(offset), sizes(*shape), sizes(*stride), FALSE, NO_HOOKS)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


def tensor_of(key: str, array: np.ndarray, *more: bytes) -> bytes:
    """A tensor that is the whole of its storage."""
    dtype = "bfloat16" if array.dtype == np.uint16 else str(array.dtype)
    return tensor(storage(key, dtype, array.size, *more), 0, array.shape, contiguous(array.shape))


# Files

Records = dict[str, bytes]


def write_zip(path: Path, records: Records, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for record, content in records.items():
            archive.writestr(record, content)
    return path


def torch_zip(path: Path, body: bytes, storages: Records, **records: bytes) -> Path:
    """PyTorch since 1.6: ``body`` are the instructions of the main pickle."""
    content = {"archive/data.pkl": pickled(body)}
    content |= {f"archive/{record}": value for record, value in records.items()}
    content |= {f"archive/data/{key}": value for key, value in storages.items()}
    return write_zip(path, content)


def arrays_zip(path: Path, arrays: dict[str, np.ndarray], wrap=named) -> Path:
    """PyTorch since 1.6, with one storage for each array; ``wrap`` gives the main pickle from the tensors."""
    keys = {key: str(i) for i, key in enumerate(arrays)}
    body = wrap({key: tensor_of(keys[key], array) for key, array in arrays.items()})
    return torch_zip(path, body, {keys[key]: array.tobytes() for key, array in arrays.items()}, version=b"3\n")


def torch_legacy(path: Path, body: bytes, storages: dict[str, np.ndarray]) -> Path:
    """PyTorch before 1.6."""
    system = mapping(protocol_version=number(1001), little_endian=TRUE, type_sizes=EMPTY_DICT)
    parts = [pickled(number(MAGIC)), pickled(number(1001)), pickled(system), pickled(body)]
    parts.append(pickled(listed(*map(text, storages))))
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in storages.values()]
    path.write_bytes(b"".join(parts))
    return path


def tar_members(arrays: dict[str, np.ndarray], body: bytes | None = None) -> Records:
    """Members of PyTorch's tar of 2017; array number i is tensor 100 + i on storage 200 + i."""
    stored, tensors = [pickled(number(len(arrays)))], [pickled(number(len(arrays)))]
    for i, array in enumerate(arrays.values()):
        kind = STORAGE_TYPES[str(array.dtype)]
        stored.append(pickled(values(number(200 + i), text("cpu"), name("torch", kind))))
        stored.append(struct.pack("<q", array.size) + array.tobytes())
        kind = name("torch", kind.replace("Storage", "Tensor"))
        tensors.append(pickled(values(number(100 + i), number(200 + i), kind)))
        strides = contiguous(array.shape)
        tensors.append(struct.pack(f"<2i{2 * array.ndim + 1}q", array.ndim, 0, *array.shape, *strides, 0))
    stored.append(pickled(EMPTY_LIST))
    body = body or named({key: number(100 + i) + b"Q" for i, key in enumerate(arrays)})
    return {
        "sys_info": pickled(EMPTY_DICT), "pickle": pickled(body),
        "tensors": b"".join(tensors), "storages": b"".join(stored),
    }  # fmt: skip


def write_tar(path: Path, members: Records) -> Path:
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def bfloat16(array: np.ndarray) -> np.ndarray:
    """The upper halves of float32 numbers, as uint16."""
    return (array.astype("<f4").view("<u4") >> 16).astype("<u2")
