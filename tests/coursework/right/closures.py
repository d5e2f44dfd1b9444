"""Style: the cache is a function, the backward pass, closed over what the forward pass knew.

Solves: all
"""
import numpy as np


def _take(size, k, stride, padding, dilation):
    """Which pixel (or none, -1) lies under which place of which window, along one axis: (k, count)"""
    count = (size + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    at = np.arange(k)[:, None] * dilation + np.arange(count) * stride - padding
    at[(at < 0) | (at >= size)] = -1
    return at


def _hot(size, *window):
    """That as a 0/1 matrix (size, k, count); a convolution is then nothing but einsum"""
    return (_take(size, *window)[None] == np.arange(size)[:, None, None]).astype(float)


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = x.shape
    A, B = (_hot(s, k, stride, padding, dilation) for s, k in zip((h, w), kernel_size))
    cols = np.einsum("nchw,hip,wjq->ncijpq", x, A, B, optimize=True)
    return cols.reshape(n, -1, cols.shape[-2] * cols.shape[-1])


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = image_shape
    A, B = (_hot(s, k, stride, padding, dilation) for s, k in zip((h, w), kernel_size))
    cols = cols.reshape(n, c, *kernel_size, A.shape[2], B.shape[2])
    return np.einsum("ncijpq,hip,wjq->nchw", cols, A, B, optimize=True)


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, c, h, w = x.shape
    o, cg, kh, kw = weight.shape
    A, B = _hot(h, kh, stride, padding, dilation), _hot(w, kw, stride, padding, dilation)
    X, K = x.reshape(n, groups, cg, h, w), weight.reshape(groups, o // groups, cg, kh, kw)
    y = np.einsum("ngchw,gocij,hip,wjq->ngopq", X, K, A, B, optimize=True).reshape(n, o, A.shape[2], B.shape[2])

    def backward(dy):
        D = dy.reshape(n, groups, o // groups, *dy.shape[2:])
        dx = np.einsum("ngopq,gocij,hip,wjq->ngchw", D, K, A, B, optimize=True).reshape(x.shape)
        dw = np.einsum("ngopq,ngchw,hip,wjq->gocij", D, X, A, B, optimize=True).reshape(weight.shape)
        return dx, dw, None if bias is None else dy.sum((0, 2, 3))

    return (y if bias is None else y + bias[:, None, None]), backward


def _call(dy, cache):
    return cache(dy)


conv2d_backward = _call


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    c = x.shape[1]
    rows = np.moveaxis(x, 1, 0).reshape(c, -1)
    m = rows.shape[1]
    mean, var = (rows.mean(1), rows.var(1)) if training else (running_mean, running_var)
    if training:
        running_mean = running_mean * (1 - momentum) + mean * momentum
        running_var = running_var * (1 - momentum) + rows.var(1, ddof=1) * momentum
    s = (var + eps) ** 0.5
    h = (rows - mean[:, None]) / s[:, None]

    def back(rows):
        return np.moveaxis(rows.reshape(c, x.shape[0], *x.shape[2:]), 0, 1)

    def backward(dy):
        d = np.moveaxis(dy, 1, 0).reshape(c, -1)
        dw, db = (d * h).sum(1), d.sum(1)
        if training:
            d = d - (db[:, None] + h * dw[:, None]) / m
        return back((weight / s)[:, None] * d), dw, db

    return back(weight[:, None] * h + bias[:, None]), backward, running_mean.copy(), running_var.copy()


batchnorm2d_backward = _call


def relu_forward(x):
    alive = np.sign(x).clip(0)
    return x * alive, lambda dy: alive * dy


relu_backward = _call


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    n, c, h, w = x.shape
    rows, columns = (_take(s, kernel_size, stride, padding, 1) for s in (h, w))
    low = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)  # index -1 is minus infinity
    v = low[:, :, rows[:, None, :, None], columns[None, :, None, :]].reshape(n, c, -1, rows.shape[1], columns.shape[1])
    win = v.argmax(2)

    def backward(dy):
        dx = np.zeros_like(low)
        i, j = np.divmod(win, kernel_size)
        a, b, p, q = np.indices(dy.shape)
        np.add.at(dx, (a, b, rows[i, p], columns[j, q]), dy)
        return dx[:, :, :-1, :-1]

    return np.take_along_axis(v, win[:, :, None], 2)[:, :, 0], backward


max_pool2d_backward = _call


def global_avg_pool_forward(x):
    area = x.shape[2] * x.shape[3]
    return x.sum((2, 3)) / area, lambda dy: np.zeros_like(x) + dy[:, :, None, None] / area


global_avg_pool_backward = _call


def linear_forward(x, weight, bias):
    return x @ weight.T + bias, lambda dy: (dy @ weight, dy.T @ x, dy.sum(0))


linear_backward = _call


def softmax_cross_entropy(logits, labels):
    n = len(labels)
    shifted = logits - logits.max(1, keepdims=True)
    logZ = np.log(np.exp(shifted).sum(1, keepdims=True))
    d = np.exp(shifted - logZ)
    d[np.arange(n), labels] -= 1
    return np.array((logZ - shifted)[np.arange(n), labels].mean()), d / n  # an array without axes


def _unit(x, params, conv, norm, training, grads, relu=False, **options):
    y, conv_back = conv2d_forward(x, params[conv + ".weight"], **options)
    stats = (params[norm + k] for k in (".weight", ".bias", ".running_mean", ".running_var"))
    y, norm_back, _, _ = batchnorm2d_forward(y, *stats, training)
    relu_back = None
    if relu:
        y, relu_back = relu_forward(y)

    def backward(dy):
        if relu_back is not None:
            dy = relu_backward(dy, relu_back)
        dy, grads[norm + ".weight"], grads[norm + ".bias"] = batchnorm2d_backward(dy, norm_back)
        dy, grads[conv + ".weight"], _ = conv2d_backward(dy, conv_back)
        return dy

    return y, backward


def _block(x, params, stride, training, plan):
    grads, backs, y = {}, [], x
    for k, (s, p, relu) in enumerate(plan, 1):
        y, back = _unit(y, params, f"conv{k}", f"bn{k}", training, grads, relu, stride=s, padding=p)
        backs.insert(0, back)
    side, side_back = x, lambda dy: dy
    if "shortcut.conv.weight" in params:
        side, side_back = _unit(x, params, "shortcut.conv", "shortcut.bn", training, grads, stride=stride)
    y, relu_back = relu_forward(y + side)

    def backward(dy):
        dy = relu_backward(dy, relu_back)
        d = dy
        for back in backs:
            d = back(d)
        return d + side_back(dy), grads

    return y, backward


def basic_block_forward(x, params, stride=1, training=True):
    return _block(x, params, stride, training, [(stride, 1, True), (1, 1, False)])


def bottleneck_block_forward(x, params, stride=1, training=True):
    return _block(x, params, stride, training, [(1, 0, True), (stride, 1, True), (1, 0, False)])


basic_block_backward = bottleneck_block_backward = _call


def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    new = velocity * momentum + grad + param * weight_decay
    return param - new * lr, new


def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, v = {**params}, {}

    def step():
        g = {}
        inner = [{k[7:]: p for k, p in params.items() if k[:7] == b} for b in ("block1.", "block2.")]
        h, stem_back = _unit(images, params, "stem.conv", "stem.bn", True, g, True, padding=1)
        h, back1 = basic_block_forward(h, inner[0])
        h, back2 = basic_block_forward(h, inner[1], stride=2)
        h, pool_back = global_avg_pool_forward(h)
        h, head_back = linear_forward(h, params["head.weight"], params["head.bias"])
        loss, d = softmax_cross_entropy(h, labels)
        d, g["head.weight"], g["head.bias"] = linear_backward(d, head_back)
        d, g2 = basic_block_backward(global_avg_pool_backward(d, pool_back), back2)
        d, g1 = basic_block_backward(d, back1)
        stem_back(d)
        g |= {"block1." + k: a for k, a in g1.items()} | {"block2." + k: a for k, a in g2.items()}
        for k, a in g.items():
            params[k], v[k] = sgd_momentum_step(params[k], a, v.get(k, 0.0), lr, momentum)
        return float(loss)

    return np.array([step() for _ in range(steps)]), params
