"""Style: a small automatic differentiation: every operation notes on a tape how its gradient flows; the backward functions
run the tape. Blocks and training are written forwards alone.

Solves: all
"""
from collections import OrderedDict, defaultdict

import numpy as np


class Var:
    def __init__(self, value, parents=()):
        self.value = np.asarray(value, dtype=np.float64)
        self.parents = parents  # (Var, function of the upstream gradient)

    @property
    def shape(self):
        return self.value.shape

    def __add__(self, other):
        other = other if isinstance(other, Var) else Var(other)
        return Var(self.value + other.value, [(self, lambda d: fit(d, self.shape)), (other, lambda d: fit(d, other.shape))])

    def __mul__(self, other):
        other = other if isinstance(other, Var) else Var(other)
        return Var(self.value * other.value, [
            (self, lambda d: fit(d * other.value, self.shape)), (other, lambda d: fit(d * self.value, other.shape))])

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -other

    def __pow__(self, k):
        return Var(self.value ** k, [(self, lambda d: d * k * self.value ** (k - 1))])

    def __matmul__(self, other):
        t = lambda a: np.swapaxes(a, -1, -2)
        return Var(self.value @ other.value, [
            (self, lambda d: fit(d @ t(other.value), self.shape)), (other, lambda d: fit(t(self.value) @ d, other.shape))])

    def __getitem__(self, index):
        def back(d):
            out = np.zeros(self.shape)
            np.add.at(out, index, d)
            return out
        return Var(self.value[index], [(self, back)])

    def reshape(self, *shape):
        return Var(self.value.reshape(*shape), [(self, lambda d: d.reshape(self.shape))])

    def transpose(self, *axes):
        return Var(self.value.transpose(axes), [(self, lambda d: d.transpose(np.argsort(axes)))])

    def sum(self, axis, keepdims=False):
        def back(d):
            return np.broadcast_to(d if keepdims else np.expand_dims(d, axis), self.shape)
        return Var(self.value.sum(axis, keepdims=keepdims), [(self, back)])

    def mean(self, axis, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.value.size / self.value.size)

    def relu(self):
        return Var(np.maximum(self.value, 0), [(self, lambda d: d * (self.value > 0))])

    def exp(self):
        y = np.exp(self.value)
        return Var(y, [(self, lambda d: d * y)])

    def log(self):
        return Var(np.log(self.value), [(self, lambda d: d / self.value)])

    def pad(self, p, value=0.0):
        if p == 0:
            return self
        y = np.pad(self.value, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=value)
        return Var(y, [(self, lambda d: d[:, :, p:-p, p:-p])])


def fit(d, shape):
    """Sum over what was broadcast"""
    d = d.sum(axis=tuple(range(d.ndim - len(shape))))
    return d.sum(axis=tuple(n for n, s in enumerate(shape) if s == 1 and d.shape[n] != 1), keepdims=True)


def gradients(y, dy, wanted):
    order, seen = [], set()
    stack = [(y, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((parent, False) for parent, _ in node.parents)
    grads = defaultdict(float)
    grads[id(y)] = dy
    for node in reversed(order):
        for parent, back in node.parents:
            grads[id(parent)] = grads[id(parent)] + back(grads[id(node)])
    return [np.zeros(v.shape) + grads[id(v)] for v in wanted]


def columns(x, kh, kw, stride, padding, dilation):
    """Var (N, C, H, W) -> Var (N, C, kh*kw, oh, ow)"""
    x = x.pad(padding)
    oh = (x.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    ow = (x.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    i, j, p, q = np.ogrid[:kh, :kw, :oh, :ow]
    v = x[:, :, p * stride + i * dilation, q * stride + j * dilation]
    return v.reshape(*x.shape[:2], kh * kw, oh, ow)


def conv(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    cols = columns(x, *weight.shape[2:], stride, padding, dilation)
    n, c, k, oh, ow = cols.shape
    o = weight.shape[0]
    y = weight.reshape(groups, o // groups, -1) @ cols.reshape(n, groups, c // groups * k, oh * ow)
    y = y.reshape(n, o, oh, ow)
    return y if bias is None else y + bias.reshape(o, 1, 1)


def bn(x, weight, bias, mean, var, training, eps=1e-5):
    """Also returns the statistics that were used"""
    if training:
        mean = x.mean((0, 2, 3), keepdims=True)
        var = ((x - mean) ** 2).mean((0, 2, 3), keepdims=True)
    else:
        mean, var = Var(mean).reshape(1, -1, 1, 1), Var(var).reshape(1, -1, 1, 1)
    h = (x - mean) * (var + eps) ** -0.5
    return h * weight.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1), mean.value.ravel(), var.value.ravel()


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    v = columns(Var(x), *kernel_size, stride, padding, dilation)
    return v.value.reshape(v.shape[0], v.shape[1] * v.shape[2], -1)


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    x = Var(np.zeros(image_shape))
    y = columns(x, *kernel_size, stride, padding, dilation)
    return gradients(y, cols.reshape(y.shape), [x])[0]


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    inputs = [Var(x), Var(weight), None if bias is None else Var(bias)]
    y = conv(*inputs, stride, padding, dilation, groups)
    return y.value, (y, inputs)


def conv2d_backward(dy, cache):
    y, inputs = cache
    found = gradients(y, dy, [v for v in inputs if v is not None])
    return tuple(found + [None] * (3 - len(found)))


def run_tape(dy, cache):
    return tuple(gradients(cache[0], dy, cache[1]))


def run_tape_for_one(dy, cache):
    return gradients(cache[0], dy, cache[1])[0]


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    inputs = [Var(x), Var(weight), Var(bias)]
    y, mean, var = bn(*inputs, running_mean, running_var, training, eps)
    if training:
        m = x.size // len(weight)
        mean = running_mean + momentum * (mean - running_mean)
        var = running_var + momentum * (var * m / (m - 1) - running_var)
    return y.value, (y, inputs), mean, var


batchnorm2d_backward = run_tape


def one(function):
    def forward(x, *args, **kwargs):
        v = Var(x)
        y = function(v, *args, **kwargs)
        return y.value, (y, [v])
    return forward


relu_forward = one(Var.relu)


@one
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    cols = columns(x.pad(padding, -np.inf), kernel_size, kernel_size, stride, 0, 1)
    n, c, p, q = np.indices(cols.shape[:2] + cols.shape[3:])
    return cols[n, c, cols.value.argmax(axis=2), p, q]


@one
def global_avg_pool_forward(x):
    return x.mean((2, 3))


relu_backward = max_pool2d_backward = global_avg_pool_backward = run_tape_for_one


def linear(x, weight, bias):
    return x @ weight.transpose(1, 0) + bias


def linear_forward(x, weight, bias):
    inputs = [Var(x), Var(weight), Var(bias)]
    y = linear(*inputs)
    return y.value, (y, inputs)


linear_backward = run_tape


def cross_entropy(z, labels):
    z = z - Var(z.value.max(axis=1, keepdims=True))
    loss = z.exp().sum(1).log() - z[np.arange(len(labels)), labels]
    return loss.mean(0)


def softmax_cross_entropy(logits, labels):
    z = Var(logits)
    loss = cross_entropy(z, labels)
    return float(loss.value), gradients(loss, 1.0, [z])[0]


def unit(x, p, c, b, training, **options):
    y = conv(x, p[c + ".weight"], **options)
    return bn(y, p[b + ".weight"], p[b + ".bias"], p[b + ".running_mean"].value, p[b + ".running_var"].value, training)[0]


def basic(x, p, stride, training):
    y = unit(x, p, "conv1", "bn1", training, stride=stride, padding=1).relu()
    y = unit(y, p, "conv2", "bn2", training, padding=1)
    return (y + side(x, p, stride, training)).relu()


def bottleneck(x, p, stride, training):
    y = unit(x, p, "conv1", "bn1", training).relu()
    y = unit(y, p, "conv2", "bn2", training, stride=stride, padding=1).relu()
    y = unit(y, p, "conv3", "bn3", training)
    return (y + side(x, p, stride, training)).relu()


def side(x, p, stride, training):
    return unit(x, p, "shortcut.conv", "shortcut.bn", training, stride=stride) if "shortcut.conv.weight" in p else x


def learnt(params):
    return [k for k in params if "running" not in k]


def block_forward(block):
    def forward(x, params, stride=1, training=True):
        x, p = Var(x), {k: Var(v) for k, v in params.items()}
        y = block(x, p, stride, training)
        return y.value, (y, x, p)
    return forward


def block_backward(dy, cache):
    y, x, p = cache
    dx, *rest = gradients(y, dy, [x] + [p[k] for k in learnt(p)])
    return dx, OrderedDict(zip(learnt(p), rest))


basic_block_forward, bottleneck_block_forward = block_forward(basic), block_forward(bottleneck)
basic_block_backward = bottleneck_block_backward = block_backward


def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    new = momentum * velocity + grad + weight_decay * param
    return param - lr * new, new


def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params = {k: v.copy() for k, v in params.items()}
    velocity = {k: np.zeros_like(params[k]) for k in learnt(params)}
    losses = np.zeros(steps)
    for t in range(steps):
        p = {k: Var(v) for k, v in params.items()}
        inner = {b: {k[7:]: v for k, v in p.items() if k.startswith(b)} for b in ("block1.", "block2.")}
        h = unit(Var(images), p, "stem.conv", "stem.bn", True, padding=1).relu()
        h = basic(basic(h, inner["block1."], 1, True), inner["block2."], 2, True)
        loss = cross_entropy(linear(h.mean((2, 3)), p["head.weight"], p["head.bias"]), labels)
        losses[t] = loss.value
        for k, g in zip(learnt(p), gradients(loss, 1.0, [p[k] for k in learnt(p)])):
            params[k], velocity[k] = sgd_momentum_step(params[k], g, velocity[k], lr, momentum)
    return losses, params
