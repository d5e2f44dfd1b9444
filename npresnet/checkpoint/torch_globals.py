"""The names that a PyTorch pickle may speak of: an allow-list, and what each of them means here.

Nothing is ever imported by name. A name of the list stands for a function of this file, which builds a description of
a tensor or a plain container; or for nothing at all (:class:`Inert`), for what trainers keep beside the weights. Every
other name is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import CheckpointError
from .torch_tensors import DTYPES, STORAGE_DTYPES, Storage, Tensor


@dataclass(frozen=True)
class Global:
    """An allowed name; calling it is :func:`call`."""

    name: str


@dataclass(frozen=True)
class StorageType:
    """Such as ``torch.FloatStorage``."""

    dtype: str


@dataclass(frozen=True)
class DType:
    """Such as ``torch.float32``."""

    name: str


@dataclass(frozen=True)
class Inert:
    """An object that was not built, only noted: it has no behaviour and keeps no content."""

    name: str


def _ordered_dict(items: Any = None) -> dict[Any, Any]:
    if items is not None:  # Python 2 could pass the items; every PyTorch file sets them one by one
        raise CheckpointError("an OrderedDict with arguments is not a state dict as PyTorch writes it")
    return {}


def _default_dict(factory: Any = None) -> dict[Any, Any]:
    return {}  # the factory is of no use to a finished dictionary


def _size(values: Any) -> tuple[Any, ...]:
    if type(values) is not tuple:
        raise CheckpointError("torch.Size must be given a tuple")
    return values


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    if type(storage) is not Storage:
        raise CheckpointError(f"a tensor needs a storage, found {type(storage).__name__}")
    return Tensor(storage, offset, size, stride, storage.dtype)


def _tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    if metadata:  # a lazy negation or conjugate, which the stored numbers do not show
        raise CheckpointError("a tensor has negative or conjugate bits; save tensor.resolve_neg().resolve_conj()")
    return _tensor(storage, offset, size, stride)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> Tensor:
    if metadata or type(storage) is not Storage or storage.window is not None or type(dtype) is not DType:
        raise CheckpointError("a tensor of _rebuild_tensor_v3 needs a whole storage and a dtype, without metadata")
    return Tensor(storage, offset, size, stride, dtype.name)


def _parameter(data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None) -> Tensor:
    if type(data) is not Tensor:
        raise CheckpointError(f"a Parameter needs a tensor, found {type(data).__name__}")
    return data


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
}
"""Names that build something."""

INERT = frozenset({
    "argparse.Namespace",
    "collections.Counter",
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("dict", "list", "set", "int", "float")),
    "_codecs.encode",
    "numpy.dtype", "numpy.ndarray",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath",  # Python 3.13
    "torch.device",
})  # fmt: skip
"""Names that trainers leave in a checkpoint (arguments, scores, paths); they become :class:`Inert`."""

_TENSOR_TYPES = frozenset(name.replace("Storage", "Tensor") for name in STORAGE_DTYPES if name != "UntypedStorage")
_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")


def resolve(module: str, name: str) -> Global | StorageType | DType:
    """Look a name of the pickle up in the allow-list.

    Raises
    ------
    CheckpointError
        If it is not there; nothing is imported to find out.
    """
    full = f"{module}.{name}"
    if full in FUNCTIONS or full in INERT:
        return Global(full)
    if module in _STORAGE_MODULES and name in STORAGE_DTYPES:
        return StorageType(STORAGE_DTYPES[name])
    if module == "torch" and name in DTYPES:
        return DType(name)
    if module in ("torch", "torch.cuda") and name in _TENSOR_TYPES:
        return StorageType(STORAGE_DTYPES[name.replace("Tensor", "Storage")])  # the type of a tensor of 2017
    if module.startswith("torch") and (name.startswith("_rebuild") or "Storage" in name or module == "torch"):
        raise CheckpointError(
            f"tensors of kind {full[:120]!r} are not read, only dense ones of {', '.join(DTYPES)}; "
            "dequantise or convert them before saving"
        )
    raise CheckpointError(not_only_arrays(full))


def not_only_arrays(name: str) -> str:
    """Message for a pickle that holds more than a state dict."""
    return (
        f"the file holds a pickled object of {name[:120]!r}, not only arrays, and unpickling it could run any code, so "
        "it is refused. If you trust it, write its arrays in the program that made it: "
        "torch.save(model.state_dict(), 'weights.pth'), or safetensors.torch.save_file"
    )


def call(function: Any, arguments: Any) -> Any:
    """Apply an allowed name to its arguments: the only call that a pickle can cause."""
    if type(function) is not Global or type(arguments) is not tuple:
        raise CheckpointError(f"the pickle calls something of type {type(function).__name__}; the file is forged")
    if function.name in INERT:
        return Inert(function.name)
    return FUNCTIONS[function.name](*arguments)
