"""Style: a small framework of layer classes. The cache is the layer itself; blocks are lists of layers and never use the
functions of earlier tasks.

Solves: all
"""
from abc import ABC, abstractmethod

import numpy as np


class Layer(ABC):
    def __call__(self, x):
        return self.forward(x)

    @abstractmethod
    def forward(self, x): ...

    @abstractmethod
    def backward(self, dy): ...

    grads = {}


class Patches:
    def __init__(self, kernel_size, stride, padding, dilation):
        (self.kh, self.kw), self.s, self.p, self.d = kernel_size, stride, padding, dilation

    def size(self, H, W):
        return ((H + 2 * self.p - self.d * (self.kh - 1) - 1) // self.s + 1,
                (W + 2 * self.p - self.d * (self.kw - 1) - 1) // self.s + 1)

    def slices(self, H, W):
        oh, ow = self.size(H, W)
        for i in range(self.kh):
            for j in range(self.kw):
                a, b = i * self.d, j * self.d
                yield np.s_[:, :, a:a + self.s * oh:self.s, b:b + self.s * ow:self.s]

    def cut(self, x):
        H, W = x.shape[2:]
        p = np.pad(x, ((0, 0), (0, 0), (self.p, self.p), (self.p, self.p)))
        return np.stack([p[s] for s in self.slices(H, W)], axis=2)  # N C k oh ow

    def glue(self, parts, H, W):
        p = np.zeros((*parts.shape[:2], H + 2 * self.p, W + 2 * self.p))
        for k, s in enumerate(self.slices(H, W)):
            p[s] += parts[:, :, k]
        return p[:, :, self.p:self.p + H, self.p:self.p + W]


class Conv(Layer):
    def __init__(self, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, name="conv"):
        self.weight, self.bias, self.groups, self.name = weight, bias, groups, name
        self.patches = Patches(weight.shape[2:], stride, padding, dilation)

    def forward(self, x):
        self.hw, n, g = x.shape[2:], len(x), self.groups
        cut = self.patches.cut(x)
        self.columns = cut.reshape(n, g, -1, cut.shape[-2] * cut.shape[-1])
        y = self.weight.reshape(g, len(self.weight) // g, -1) @ self.columns
        y = y.reshape(n, len(self.weight), *cut.shape[-2:])
        return y if self.bias is None else y + self.bias[:, None, None]

    def backward(self, dy):
        n, o = dy.shape[:2]
        d = dy.reshape(n, self.groups, o // self.groups, -1)
        w = self.weight.reshape(self.groups, o // self.groups, -1)
        self.grads = {f"{self.name}.weight": np.einsum("ngop,ngkp->gok", d, self.columns).reshape(self.weight.shape)}
        self.dbias = None if self.bias is None else dy.sum((0, 2, 3))
        parts = (w.transpose(0, 2, 1) @ d).reshape(n, -1, self.weight[0, 0].size, *dy.shape[2:])
        return self.patches.glue(parts, *self.hw)


class BatchNorm(Layer):
    def __init__(self, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5, name="bn"):
        self.gamma, self.beta, self.mean, self.var = gamma, beta, mean, var
        self.training, self.momentum, self.eps, self.name = training, momentum, eps, name

    def forward(self, x):
        mean, var = self.mean, self.var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            m = x.size / x.shape[1]
            self.mean = self.mean * (1 - self.momentum) + self.momentum * mean
            self.var = self.var * (1 - self.momentum) + self.momentum * var * m / (m - 1)
        self.std = np.sqrt(var + self.eps)[:, None, None]
        self.normal = (x - mean[:, None, None]) / self.std
        return self.normal * self.gamma[:, None, None] + self.beta[:, None, None]

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.normal).sum((0, 2, 3)), dy.sum((0, 2, 3))
        self.grads = {f"{self.name}.weight": self.dgamma, f"{self.name}.bias": self.dbeta}
        d = dy * self.gamma[:, None, None]
        if self.training:
            d = d - d.mean((0, 2, 3), keepdims=True) - self.normal * (d * self.normal).mean((0, 2, 3), keepdims=True)
        return d / self.std


class ReLU(Layer):
    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy):
        return dy * self.positive


class MaxPool(Layer):
    def __init__(self, k, s, p):
        self.patches, self.p = Patches((k, k), s, 0, 1), p

    def forward(self, x):
        x = np.pad(x, ((0, 0), (0, 0), (self.p, self.p), (self.p, self.p)), constant_values=-np.inf)
        self.hw = x.shape[2:]
        cut = self.patches.cut(x)
        self.which = np.argmax(cut, axis=2)
        self.k = cut.shape[2]
        return cut.max(axis=2)

    def backward(self, dy):
        parts = np.stack([dy * (self.which == k) for k in range(self.k)], axis=2)
        dx = self.patches.glue(parts, *self.hw)
        return dx[:, :, self.p:self.hw[0] - self.p, self.p:self.hw[1] - self.p]


class GlobalAveragePool(Layer):
    def forward(self, x):
        self.shape = x.shape
        return x.mean((-1, -2))

    def backward(self, dy):
        return np.ones(self.shape) * (dy / (self.shape[2] * self.shape[3]))[:, :, None, None]


class Linear(Layer):
    def __init__(self, weight, bias, name="linear"):
        self.weight, self.bias, self.name = weight, bias, name

    def forward(self, x):
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, dy):
        self.dweight, self.dbias = dy.T @ self.x, dy.sum(0)
        self.grads = {f"{self.name}.weight": self.dweight, f"{self.name}.bias": self.dbias}
        return dy @ self.weight


class Sequence(Layer):
    def __init__(self, *layers):
        self.layers = layers

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy):
        self.grads = {}
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
            self.grads.update(layer.grads)
        return dy


class Residual(Layer):
    def __init__(self, main, side):
        self.main, self.side, self.last = main, side, ReLU()

    def forward(self, x):
        return self.last(self.main(x) + self.side(x))

    def backward(self, dy):
        dy = self.last.backward(dy)
        dx = self.main.backward(dy) + self.side.backward(dy)
        self.grads = {**self.main.grads, **self.side.grads}
        return dx


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    cut = Patches(kernel_size, stride, padding, dilation).cut(x)
    return cut.reshape(len(x), cut.shape[1] * cut.shape[2], -1)


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    patches = Patches(kernel_size, stride, padding, dilation)
    N, C, H, W = image_shape
    return patches.glue(cols.reshape(N, C, -1, *patches.size(H, W)), H, W)


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    layer = Conv(weight, bias, stride, padding, dilation, groups)
    return layer(x), layer


def conv2d_backward(dy, cache):
    dx = cache.backward(dy)
    return dx, cache.grads["conv.weight"], cache.dbias


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    layer = BatchNorm(weight, bias, running_mean, running_var, training, momentum, eps)
    y = layer(x)
    return y, layer, layer.mean, layer.var


def batchnorm2d_backward(dy, cache):
    return cache.backward(dy), cache.dgamma, cache.dbeta


def run(layer, x):
    return layer(x), layer


def relu_forward(x):
    return run(ReLU(), x)


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    return run(MaxPool(kernel_size, stride, padding), x)


def global_avg_pool_forward(x):
    return run(GlobalAveragePool(), x)


def backward(dy, cache):
    return cache.backward(dy)


relu_backward = max_pool2d_backward = global_avg_pool_backward = backward


def linear_forward(x, weight, bias):
    return run(Linear(weight, bias), x)


def linear_backward(dy, cache):
    return cache.backward(dy), cache.dweight, cache.dbias


def softmax_cross_entropy(logits, labels):
    z = logits - logits.max(axis=1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    picked = np.take_along_axis(logp, labels[:, None], axis=1)
    d = np.exp(logp)
    np.put_along_axis(d, labels[:, None], np.exp(picked) - 1, axis=1)
    return -picked.sum() / len(z), d / len(z)


def bn_layer(params, name, training):
    return BatchNorm(*(params[f"{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")), training, name=name)


def side_layer(params, stride, training):
    if not any(k.startswith("shortcut") for k in params):
        return Sequence()
    return Sequence(Conv(params["shortcut.conv.weight"], stride=stride, name="shortcut.conv"),
                    bn_layer(params, "shortcut.bn", training))


def basic(params, stride, training):
    return Residual(
        Sequence(
            Conv(params["conv1.weight"], stride=stride, padding=1, name="conv1"), bn_layer(params, "bn1", training), ReLU(),
            Conv(params["conv2.weight"], padding=1, name="conv2"), bn_layer(params, "bn2", training),
        ),
        side_layer(params, stride, training),
    )


def basic_block_forward(x, params, stride=1, training=True):
    return run(basic(params, stride, training), x)


def basic_block_backward(dy, cache):
    return cache.backward(dy), cache.grads


def bottleneck_block_forward(x, params, stride=1, training=True):
    main = Sequence(
        Conv(params["conv1.weight"], name="conv1"), bn_layer(params, "bn1", training), ReLU(),
        Conv(params["conv2.weight"], stride=stride, padding=1, name="conv2"), bn_layer(params, "bn2", training), ReLU(),
        Conv(params["conv3.weight"], name="conv3"), bn_layer(params, "bn3", training),
    )
    return run(Residual(main, side_layer(params, stride, training)), x)


def bottleneck_block_backward(dy, cache):
    return cache.backward(dy), cache.grads


def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    grad = grad + weight_decay * param if weight_decay else grad
    velocity = grad + momentum * velocity
    return param - lr * velocity, velocity


class Optimizer:
    def __init__(self, lr, momentum):
        self.lr, self.momentum, self.velocity = lr, momentum, {}

    def step(self, params, grads):
        for k, g in grads.items():
            self.velocity[k] = g if k not in self.velocity else self.momentum * self.velocity[k] + g
            params[k] = params[k] - self.lr * self.velocity[k]


def network(params):
    def sub(prefix):
        return {k[len(prefix) + 1:]: v for k, v in params.items() if k.startswith(prefix + ".")}

    return [
        ("stem.", Sequence(Conv(params["stem.conv.weight"], padding=1), bn_layer(sub("stem"), "bn", True), ReLU())),
        ("block1.", basic(sub("block1"), 1, True)),
        ("block2.", basic(sub("block2"), 2, True)),
        ("", GlobalAveragePool()),
        ("", Linear(params["head.weight"], params["head.bias"], "head")),
    ]


def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, optimizer, losses = dict(params), Optimizer(lr, momentum), []
    while len(losses) < steps:
        layers = network(params)
        x = images
        for _, layer in layers:
            x = layer(x)
        loss, d = softmax_cross_entropy(x, labels)
        losses.append(loss)
        grads = {}
        for prefix, layer in reversed(layers):
            d = layer.backward(d)
            grads.update({prefix + k: v for k, v in layer.grads.items()})
        optimizer.step(params, grads)
    return np.asarray(losses, dtype=np.float64), params
