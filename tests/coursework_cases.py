"""Small calls of every function of the coursework: strides, paddings, groups, both modes, both kinds of shortcut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Values = dict[str, Any]
Namespace = dict[str, Any]


class Call(NamedTuple):
    """One use of a function, or of a forward function and its backward one."""

    part: str
    kind: str  # what is special about it
    run: Callable[[Namespace], Values]
    """Outputs by name, when run with the functions of a namespace; a dict of arrays is flattened to ``name/key``."""


def calls() -> Iterator[Call]:
    """All calls."""
    yield from _windows()
    yield from _convolutions()
    yield from _normalisations()
    yield from _activations_and_pools()
    yield from _classifiers()
    yield from _blocks()
    yield from _training()


def _draw(*key: int) -> Callable[..., Array]:
    """Standard normal arrays of given shapes."""
    rng = np.random.default_rng(key)
    return lambda *shape: rng.standard_normal(shape)


WINDOWS = (
    # (N, C, H, W), (kh, kw), stride, padding, dilation
    ((2, 3, 5, 6), (3, 3), 1, 1, 1),
    ((1, 2, 6, 5), (2, 3), 2, 0, 1),
    ((2, 2, 7, 6), (3, 2), 2, 1, 2),
    ((2, 3, 6, 8), (3, 3), 2, 2, 1),
    ((1, 1, 4, 3), (1, 1), 2, 0, 1),
)


def _size(shape: tuple[int, ...], kernel: Pair, stride: int, padding: int, dilation: int) -> list[int]:
    pairs = zip(shape[2:], kernel, strict=True)
    return [(size + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for size, k in pairs]


def _windows() -> Iterator[Call]:
    for number, (shape, kernel, *options) in enumerate(WINDOWS):
        draw = _draw(1, number)
        cols = draw(shape[0], shape[1] * kernel[0] * kernel[1], math.prod(_size(shape, kernel, *options)))
        yield from _window_calls(draw(*shape), cols, kernel, options)


def _window_calls(x: Array, cols: Array, kernel: Pair, options: list[int]) -> Iterator[Call]:
    def gather(f: Namespace) -> Values:
        return {"cols": f["im2col"](x.copy(), kernel, *options)}

    def scatter(f: Namespace) -> Values:
        return {"x": f["col2im"](cols.copy(), x.shape, kernel, *options)}

    yield Call("im2col", f"{x.shape} {kernel} {options}", gather)
    yield Call("col2im", f"{x.shape} {kernel} {options}", scatter)


def _convolutions() -> Iterator[Call]:
    of_groups = [(2, 4, 5, 4), (3, 3), 1, 1, 1]  # two channels in each of two
    for number, (shape, kernel, stride, padding, dilation) in enumerate([*WINDOWS, of_groups]):
        for groups in ((1, 3), (1, 2), (1, 2), (1,), (1,), (2,))[number]:
            draw = _draw(2, number, groups)
            weight = draw(4 if shape[1] % 3 else 6, shape[1] // groups, *kernel)
            bias = None if number == 1 else draw(len(weight))
            dy = draw(shape[0], len(weight), *_size(shape, kernel, stride, padding, dilation))
            options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            yield from _conv_calls(draw(*shape), weight, bias, dy, options)


def _conv_calls(x: Array, weight: Array, bias: Array | None, dy: Array, options: Values) -> Iterator[Call]:
    def forward(f: Namespace) -> tuple[Array, Any]:
        return f["conv2d_forward"](x.copy(), weight.copy(), None if bias is None else bias.copy(), **options)

    def gradients(f: Namespace) -> Values:
        return dict(zip(("dx", "dweight", "dbias"), f["conv2d_backward"](dy.copy(), forward(f)[1]), strict=True))

    kind = f"{x.shape} {weight.shape} {options}"
    yield Call("conv2d_forward", kind, lambda f: {"y": forward(f)[0]})
    yield Call("conv2d_backward", kind, gradients)


def _normalisations() -> Iterator[Call]:
    for number, (shape, training, scale, options) in enumerate(
        [
            ((3, 2, 4, 3), True, 1.5, {}),
            ((1, 3, 3, 2), True, 1.0, {"momentum": 0.3}),
            ((2, 3, 2, 2), True, 0.02, {}),
            ((2, 4, 1, 1), True, 1.0, {"eps": 0.1}),
            ((2, 3, 3, 4), False, 2.0, {}),
            ((1, 2, 2, 2), False, 0.02, {"momentum": 0.5, "eps": 0.02}),
        ]
    ):
        draw, C = _draw(3, number), shape[1]
        values = [draw(C) + 1.5, draw(C), draw(C), scale**2 * (0.5 + draw(C) ** 2)]
        yield from _norm_calls(draw(*shape) * scale + 0.5, values, draw(*shape), training, options)


def _norm_calls(x: Array, values: list[Array], dy: Array, training: bool, options: Values) -> Iterator[Call]:
    def forward(f: Namespace) -> tuple[Array, Any, Array, Array]:
        return f["batchnorm2d_forward"](x.copy(), *map(np.copy, values), training, **options)

    def outputs(f: Namespace) -> Values:
        y, _, running_mean, running_var = forward(f)
        return {"y": y, "running_mean": running_mean, "running_var": running_var}

    def gradients(f: Namespace) -> Values:
        return dict(zip(("dx", "dweight", "dbias"), f["batchnorm2d_backward"](dy.copy(), forward(f)[1]), strict=True))

    kind = f"{x.shape} training={training} {options}"
    yield Call("batchnorm2d_forward", kind, outputs)
    yield Call("batchnorm2d_backward", kind, gradients)


def _pair(name: str, x: Array, dy: Array, kind: str, **options: Any) -> Iterator[Call]:
    """A forward function of one array, and its backward one."""

    def forward(f: Namespace) -> Values:
        return {"y": f[f"{name}_forward"](x.copy(), **options)[0]}

    def backward(f: Namespace) -> Values:
        _, cache = f[f"{name}_forward"](x.copy(), **options)
        return {"dx": f[f"{name}_backward"](dy.copy(), cache)}

    yield Call(f"{name}_forward", kind, forward)
    yield Call(f"{name}_backward", kind, backward)


def _activations_and_pools() -> Iterator[Call]:
    for number, shape in enumerate([(2, 3, 4, 2), (5,), (3, 4)]):
        draw = _draw(4, number)
        yield from _pair("relu", draw(*shape), draw(*shape), str(shape))
    for number, (shape, k, stride, padding) in enumerate(
        [
            ((2, 3, 7, 6), 3, 2, 1),
            ((1, 2, 5, 6), 2, 2, 0),
            ((2, 2, 5, 5), 3, 1, 1),
            ((1, 2, 7, 7), 2, 3, 0),
            ((2, 1, 8, 7), 3, 2, 1),
        ]
    ):
        draw = _draw(5, number)
        dy = draw(*shape[:2], *_size(shape, (k, k), stride, padding, 1))
        options = {"kernel_size": k, "stride": stride, "padding": padding}
        yield from _pair("max_pool2d", draw(*shape) - 1.0, dy, f"{shape} {options}", **options)
    for number, shape in enumerate([(2, 3, 4, 5), (1, 2, 1, 1), (3, 2, 1, 4)]):
        draw = _draw(6, number)
        yield from _pair("global_avg_pool", draw(*shape), draw(*shape[:2]), str(shape))


def _classifiers() -> Iterator[Call]:
    for number, (N, D, K) in enumerate([(3, 4, 5), (1, 2, 3), (4, 5, 2)]):
        draw = _draw(7, number)
        yield from _linear_calls((draw(N, D), draw(K, D), draw(K)), draw(N, K))
    for number, (N, K, scale) in enumerate([(4, 5, 2.0), (1, 3, 1.0), (3, 4, 1000.0)]):
        rng = np.random.default_rng((8, number))
        yield _loss_call(rng.standard_normal((N, K)) * scale, rng.integers(0, K, N))


def _linear_calls(values: tuple[Array, ...], dy: Array) -> Iterator[Call]:
    def forward(f: Namespace) -> tuple[Array, Any]:
        return f["linear_forward"](*map(np.copy, values))

    def gradients(f: Namespace) -> Values:
        return dict(zip(("dx", "dweight", "dbias"), f["linear_backward"](dy.copy(), forward(f)[1]), strict=True))

    yield Call("linear_forward", str(values[0].shape), lambda f: {"y": forward(f)[0]})
    yield Call("linear_backward", str(values[0].shape), gradients)


def _loss_call(logits: Array, labels: Array) -> Call:
    def loss(f: Namespace) -> Values:
        loss, dlogits = f["softmax_cross_entropy"](logits.copy(), labels.copy())
        return {"loss": np.asarray(loss), "dlogits": dlogits}

    return Call("softmax_cross_entropy", f"{logits.shape} up to {np.abs(logits).max():.0f}", loss)


def _norm(params: Values, name: str, size: int, draw: Callable[..., Array]) -> None:
    params[f"{name}.weight"], params[f"{name}.bias"] = 1 + 0.3 * draw(size), 0.3 * draw(size)
    params[f"{name}.running_mean"], params[f"{name}.running_var"] = 0.3 * draw(size), 0.5 + draw(size) ** 2


def block_params(kind: str, C: int, M: int, O: int, projection: bool, draw: Callable[..., Array]) -> Values:
    """Parameters of a block; M is the bottleneck's inner number of channels."""
    shapes = [(O, C, 3), (O, O, 3)] if kind == "basic" else [(M, C, 1), (M, M, 3), (O, M, 1)]
    params: Values = {}
    for number, (o, c, k) in enumerate(shapes, 1):
        params[f"conv{number}.weight"] = draw(o, c, k, k) / np.sqrt(c * k * k)
        _norm(params, f"bn{number}", o, draw)
    if projection:
        params["shortcut.conv.weight"] = draw(O, C, 1, 1) / np.sqrt(C)
        _norm(params, "shortcut.bn", O, draw)
    return params


def flat(name: str, values: Values) -> Values:
    """A dict of arrays as ``name/key``."""
    return {f"{name}/{key}": value for key, value in values.items()}


def _blocks() -> Iterator[Call]:
    for kind in ("basic", "bottleneck"):
        for number, (shape, O, stride, projection, training) in enumerate(
            [
                ((2, 3, 4, 5), 3, 1, False, True),
                ((2, 3, 5, 4), 4, 2, True, True),
                ((2, 2, 4, 4), 2, 1, False, False),
                ((1, 2, 5, 5), 3, 2, True, False),
                ((2, 2, 4, 4), 2, 1, True, True),
            ]
        ):
            draw = _draw(9, number, len(kind))
            params = block_params(kind, shape[1], 3, O, projection, draw)
            dy = draw(shape[0], O, *_size(shape, (3, 3), stride, 1, 1))
            yield from _block_calls(kind, draw(*shape), params, dy, {"stride": stride, "training": training})


def _block_calls(kind: str, x: Array, params: Values, dy: Array, options: Values) -> Iterator[Call]:
    def forward(f: Namespace) -> tuple[Array, Any]:
        return f[f"{kind}_block_forward"](x.copy(), {key: value.copy() for key, value in params.items()}, **options)

    def gradients(f: Namespace) -> Values:
        dx, grads = f[f"{kind}_block_backward"](dy.copy(), forward(f)[1])
        return {"dx": dx, **flat("grads", grads)}

    label = f"{x.shape} -> {dy.shape} {options} {'projection' if 'shortcut.conv.weight' in params else 'identity'}"
    yield Call(f"{kind}_block_forward", label, lambda f: {"y": forward(f)[0]})
    yield Call(f"{kind}_block_backward", label, gradients)


def small_resnet(seed: int, A: int = 3, B: int = 4, K: int = 3) -> Values:
    """Parameters for ``train_small_resnet``."""
    draw = _draw(10, seed)
    params: Values = {"stem.conv.weight": draw(A, 3, 3, 3) / 5}
    _norm(params, "stem.bn", A, draw)
    for name, C, O in (("block1", A, A), ("block2", A, B)):
        block = block_params("basic", C, 0, O, C != O, draw)
        params |= {f"{name}.{key}": value for key, value in block.items()}
    return params | {"head.weight": draw(K, B) / 2, "head.bias": draw(K) / 10}


def _training() -> Iterator[Call]:
    for number, (shape, options) in enumerate(
        [((4, 3), {}), ((3,), {"momentum": 0.5, "weight_decay": 0.2}), ((2, 1, 3, 3), {"weight_decay": 0.1})]
    ):
        draw = _draw(11, number)
        yield _step_call([draw(*shape) for _ in range(3)], options)
    for number, (steps, momentum) in enumerate([(1, 0.9), (3, 0.9), (3, 0.4)]):
        yield _train_call(np.random.default_rng((12, number)), steps, momentum)


def _step_call(arrays: list[Array], options: Values) -> Call:
    def step(f: Namespace) -> Values:
        param, velocity = f["sgd_momentum_step"](*map(np.copy, arrays), 0.3, **options)
        return {"param": param, "velocity": velocity}

    return Call("sgd_momentum_step", f"{arrays[0].shape} {options}", step)


def _train_call(rng: np.random.Generator, steps: int, momentum: float) -> Call:
    images, labels, params = rng.standard_normal((3, 3, 5, 4)), rng.integers(0, 3, 3), small_resnet(1)

    def train(f: Namespace) -> Values:
        own = {key: value.copy() for key, value in params.items()}
        losses, trained = f["train_small_resnet"](images.copy(), labels.copy(), own, steps, 0.05, momentum)
        return {"losses": losses, **flat("params", trained)}

    return Call("train_small_resnet", f"{steps} steps, momentum {momentum}", train)
