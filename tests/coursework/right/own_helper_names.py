"""Style: private helpers, globals and classes that happen to be called as in other people's files, with other arguments
and meanings.

Solves: basic_block_forward, basic_block_backward, train_small_resnet
"""
import numpy as np

W = "weight"
B = "bias"
_params = ("running_mean", "running_var")


def _normalized(params, name, x, mode):
    """Arguments in an order of its own"""
    stats = [params[name + "." + key] for key in _params]
    y, cache, *_ = batchnorm2d_forward(x, params[name + "." + W], params[name + "." + B], *stats, mode)
    return {"y": y, "cache": cache}


def _shortcut_forward(params, x, *, mode, stride):
    if "shortcut.conv.weight" in params:
        y, conv = conv2d_forward(x, params["shortcut.conv.weight"], stride=stride)
        bn = _normalized(params, "shortcut.bn", y, mode)
        return {"y": bn["y"], "conv": conv, "bn": bn}
    return {"y": x}


def _shortcut_backward(cache, d):
    if "conv" not in cache:
        return d, {}
    d, dw, db = batchnorm2d_backward(d, cache["bn"]["cache"])
    dx, dconv, _ = conv2d_backward(d, cache["conv"])
    return dx, {"shortcut.conv.weight": dconv, "shortcut.bn.weight": dw, "shortcut.bn.bias": db}


def basic_block_forward(x, params, stride=1, training=True):
    y, c1 = conv2d_forward(x, params["conv1.weight"], stride=stride, padding=1)
    n1 = _normalized(params, "bn1", y, training)
    y, r1 = relu_forward(n1["y"])
    y, c2 = conv2d_forward(y, params["conv2.weight"], padding=1)
    n2 = _normalized(params, "bn2", y, training)
    side = _shortcut_forward(params, x, mode=training, stride=stride)
    y, r2 = relu_forward(n2["y"] + side["y"])
    return y, [c1, n1, r1, c2, n2, side, r2]


def basic_block_backward(dy, cache):
    c1, n1, r1, c2, n2, side, r2 = cache
    dy = relu_backward(dy, r2)
    dx, grads = _shortcut_backward(side, dy)
    dy, grads["bn2.weight"], grads["bn2.bias"] = batchnorm2d_backward(dy, n2["cache"])
    dy, grads["conv2.weight"], _ = conv2d_backward(dy, c2)
    dy = relu_backward(dy, r1)
    dy, grads["bn1.weight"], grads["bn1.bias"] = batchnorm2d_backward(dy, n1["cache"])
    dy, grads["conv1.weight"], _ = conv2d_backward(dy, c1)
    return dx + dy, grads


def _loss_and_gradients(params):
    """Of the data that are remembered globally"""
    images, labels = _loss_and_gradients.data
    parts = {"block1": {}, "block2": {}, "stem": {}, "head": {}}
    for key, value in params.items():
        first, rest = key.split(".", 1)
        parts[first][rest] = value
    h, conv = conv2d_forward(images, params["stem.conv.weight"], padding=1)
    bn = _normalized(params, "stem.bn", h, True)
    h, relu = relu_forward(bn["y"])
    h, first = basic_block_forward(h, parts["block1"])
    h, second = basic_block_forward(h, parts["block2"], 2)
    h, pool = global_avg_pool_forward(h)
    h, head = linear_forward(h, parts["head"][W], parts["head"][B])
    loss, d = softmax_cross_entropy(h, labels)
    g = {"head": {}, "stem": {}}
    d, g["head"][W], g["head"][B] = linear_backward(d, head)
    d, g["block2"] = basic_block_backward(global_avg_pool_backward(d, pool), second)
    d, g["block1"] = basic_block_backward(d, first)
    d, g["stem"]["bn." + W], g["stem"]["bn." + B] = batchnorm2d_backward(relu_backward(d, relu), bn["cache"])
    _, g["stem"]["conv." + W], _ = conv2d_backward(d, conv)
    return loss, {first + "." + rest: value for first, inner in g.items() for rest, value in inner.items()}


def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    _loss_and_gradients.data = images, labels
    new = {key: np.array(value) for key, value in params.items()}
    speed = {key: np.zeros(value.shape) for key, value in params.items()}
    losses = []
    for _ in range(steps):
        loss, grads = _loss_and_gradients(new)
        losses += [loss]
        for key in grads:
            new[key], speed[key] = sgd_momentum_step(new[key], grads[key], speed[key], lr, momentum)
    return np.array(losses), new
