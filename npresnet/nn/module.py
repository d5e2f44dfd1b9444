"""Layers: a :class:`Module` holds parameters, calls the functions of :mod:`npresnet.ops` and keeps their caches.

There is no autograd. ``forward`` puts a cache aside, ``backward`` takes it, adds the parameters' gradients to their
``grad`` and returns the gradient of the input. A module finds its parameters by looking through its own attributes:
a :class:`Parameter` is a parameter, an array is a buffer, a module or a list of modules is a child.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.floating]


_copying = Lock()  # one for all parameters: a copy is short, and a lock inside a parameter could not be deep-copied


class Parameter:
    """An array that is learned, and its gradient.

    Attributes
    ----------
    data : array
        To read, to write into, or to replace.
    grad : array or None
        The sum of all gradients since it was last set to None.
    requires_grad : bool
        False freezes the parameter: its gradient is not computed.
    """

    def __init__(self, data: Array) -> None:
        self._array = data
        self._borrowed = False
        self.grad: Array | None = None
        self.requires_grad = True

    @property
    def data(self) -> Array:
        """The values; borrowed ones become an ordinary array, with memory of its own, the first time they are read."""
        if self._borrowed:
            with _copying:
                if self._borrowed:  # no other thread came first
                    self._array = self._array.copy()
                    self._borrowed = False
        return self._array

    @data.setter
    def data(self, data: Array) -> None:
        with _copying:
            self._array = data
            self._borrowed = False

    def borrow(self, array: Array) -> None:
        """Take the values from an array that belongs to a file, and copy them only if :attr:`data` is ever read.

        A loaded model then shares its weights with the file, until somebody trains it, changes it or computes with it
        layer by layer.

        Parameters
        ----------
        array : array
            Read-only, and the same for as long as the parameter lives.
        """
        with _copying:
            self._borrowed = True  # first: whoever reads now waits for the lock, then copies the new array
            self._array = array

    def peek(self) -> Array:
        """Return the values as they are, borrowed or not, without a copy: for looking, never for writing."""
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self._array.shape

    @property
    def size(self) -> int:
        """Number of values."""
        return self._array.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number format of the data."""
        return self._array.dtype

    def accumulate(self, gradient: Array | None) -> None:
        """Add a gradient of the same shape, unless the parameter is frozen."""
        if gradient is not None and self.requires_grad:
            self.grad = gradient if self.grad is None else self.grad + gradient

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", frozen"
        return f"Parameter({' x '.join(map(str, self.shape))}, {self.dtype}{frozen})"


class Module:
    """Base class of everything with parameters, written as a pair of ``forward`` and ``backward``.

    Attributes
    ----------
    training : bool
        Batch statistics, dropout and so on are in training mode.
    keeps_cache : bool
        ``forward`` puts aside what ``backward`` needs: in training mode, and inside :meth:`enable_grad`.
    """

    def __init__(self) -> None:
        self.training = False
        self.keeps_cache = False
        self._cache: Any = None

    def forward(self, x: Array) -> Array:
        """Compute the output; to be written by each layer."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array) -> Array:
        """Compute the gradients; to be written by each layer."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # ----------------------------------------------------------------------------------------------------- caches

    def _keep(self, cache: Any) -> None:
        if self.keeps_cache:
            self._cache = cache

    def _take(self) -> Any:
        cache, self._cache = self._cache, None
        if cache is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs a forward pass in training mode before it: none was made, or "
                "its cache is already used up by an earlier backward. Call model.train() (or, to differentiate in "
                "evaluation mode, model.enable_grad()), then the model, then backward once"
            )
        return cache

    def drop_caches(self) -> None:
        """Forget what the last forward pass put aside, here and in all children."""
        for _, module in self.named_modules():
            module._cache = None

    @contextmanager
    def enable_grad(self) -> Iterator[None]:
        """Keep caches within this context, whatever the mode: for gradients in evaluation mode."""
        before = [(module, module.keeps_cache) for _, module in self.named_modules()]
        try:
            for module, _ in before:
                module.keeps_cache = True
            yield
        finally:
            for module, keeps in before:
                module.keeps_cache = keeps

    # --------------------------------------------------------------------------------------------------- structure

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield ``(name, module)`` of the modules held directly, in the order in which they were set."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{index}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield ``(name, module)`` of this module and all below it; its own name is ``prefix``."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield ``(name, parameter)`` of this module and all below it."""
        for name, owner, attribute in self._named_arrays():
            value = getattr(owner, attribute)
            if isinstance(value, Parameter):
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        """Yield all parameters."""
        return (parameter for _, parameter in self.named_parameters())

    @property
    def learns(self) -> bool:
        """Whether any parameter here or below is not frozen."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def named_buffers(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield ``(name, array)`` of what is saved but not learned: the running statistics."""
        for name, owner, attribute in self._named_arrays():
            value = getattr(owner, attribute)
            if not isinstance(value, Parameter):
                yield name, value

    def _named_arrays(self) -> Iterator[tuple[str, Module, str]]:
        """Yield ``(name, owner, attribute)`` of every parameter and buffer, in the order of a state dict."""
        for prefix, module in self.named_modules():
            for attribute, value in vars(module).items():
                if isinstance(value, (Parameter, np.ndarray)) and attribute != "_cache":
                    yield f"{prefix}.{attribute}" if prefix else attribute, module, attribute

    # ------------------------------------------------------------------------------------------------------- state

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all below it to training mode, or back; returns itself."""
        for _, module in self.named_modules():
            module.training = module.keeps_cache = mode
            if not mode:
                module._cache = None
        return self

    def eval(self) -> Module:
        """Switch to evaluation mode: running statistics, no dropout, no caches; returns itself."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self, dtype: DTypeLike) -> Module:
        """Convert parameters and running statistics to float32 or float64, in place; returns itself.

        Gradients are forgotten; arrays that have the dtype already stay the same arrays.
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"a model computes in float32 or float64, not in {np.dtype(dtype)}")
        for _, owner, attribute in self._named_arrays():
            value = getattr(owner, attribute)
            if isinstance(value, Parameter):
                value.grad = None
                if value.dtype != dtype:
                    value.data = value.peek().astype(dtype)
            elif np.issubdtype(value.dtype, np.floating):
                setattr(owner, attribute, value.astype(dtype, copy=False))
        return self

    @contextmanager
    def trace(self) -> Iterator[dict[str, Any]]:
        """Record every module's output and gradient by name, for notebooks and debugging.

        Within the context, the yielded dictionary fills with ``name -> output`` on a forward pass and with
        ``"grad:" + name -> gradient of the module's output`` on a backward pass.

        Examples
        --------
        >>> with model.trace() as seen:
        ...     model(pixel_values)
        >>> seen["resnet.encoder.stages.0"].shape
        (1, 256, 56, 56)
        """
        seen: dict[str, Any] = {}
        watched = [(name, module) for name, module in self.named_modules() if name]
        before = [{k: v for k, v in vars(m).items() if k in ("forward", "backward")} for _, m in watched]
        for name, module in watched:
            _watch(module, name, seen)
        try:
            yield seen
        finally:
            for (_, module), own in zip(watched, before, strict=True):
                for method in ("forward", "backward"):
                    vars(module).pop(method, None)  # the class's own methods show again
                vars(module).update(own)  # unless another trace is around this one


def _watch(module: Any, name: str, seen: dict[str, Any]) -> None:
    forward, backward = module.forward, module.backward

    def recording_forward(*args: Any, **kwargs: Any) -> Any:
        seen[name] = forward(*args, **kwargs)
        return seen[name]

    def recording_backward(*args: Any, **kwargs: Any) -> Any:
        if args and args[0] is not None:
            seen[f"grad:{name}"] = args[0]
        return backward(*args, **kwargs)

    module.forward, module.backward = recording_forward, recording_backward
