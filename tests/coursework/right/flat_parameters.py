"""Style: training on one flat vector of all parameters, of which the dict's arrays are views; the velocity is one vector as
well, and what is given back are slices of it.

Solves: sgd_momentum_step, train_small_resnet
"""
import itertools

import numpy as np


def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    stacked = np.stack([velocity, grad, param])
    new = np.tensordot(np.array([momentum, 1.0, weight_decay]), stacked, axes=1)
    return param - lr * new, new


class Flat:
    def __init__(self, arrays):
        self.shapes = {k: v.shape for k, v in arrays.items()}
        self.vector = np.concatenate([v.ravel() for v in arrays.values()])

    def __iter__(self):
        ends = list(itertools.accumulate(int(np.prod(s)) for s in self.shapes.values()))
        for (k, shape), start, end in zip(self.shapes.items(), [0, *ends], ends):
            yield k, self.vector[start:end].reshape(shape)


def loss_gradient(images, labels, p):
    def cut(prefix):
        return {k.partition(".")[2]: v for k, v in p.items() if k.partition(".")[0] == prefix}

    def bn(x, q):
        return batchnorm2d_forward(x, q["bn.weight"], q["bn.bias"], q["bn.running_mean"], q["bn.running_var"], True)[:2]

    x, back_conv = conv2d_forward(images, p["stem.conv.weight"], None, 1, 1)
    x, back_bn = bn(x, cut("stem"))
    x, back_relu = relu_forward(x)
    x, back1 = basic_block_forward(x, cut("block1"), 1, True)
    x, back2 = basic_block_forward(x, cut("block2"), 2, True)
    x, back_pool = global_avg_pool_forward(x)
    x, back_head = linear_forward(x, p["head.weight"], p["head.bias"])
    loss, d = softmax_cross_entropy(x, labels)
    d, hw, hb = linear_backward(d, back_head)
    d, two = basic_block_backward(global_avg_pool_backward(d, back_pool), back2)
    d, one = basic_block_backward(d, back1)
    d, sw, sb = batchnorm2d_backward(relu_backward(d, back_relu), back_bn)
    _, sc, _ = conv2d_backward(d, back_conv)
    named = {"head.weight": hw, "head.bias": hb, "stem.bn.weight": sw, "stem.bn.bias": sb, "stem.conv.weight": sc}
    for prefix, grads in (("block1.", one), ("block2.", two)):
        named.update((prefix + k, v) for k, v in grads.items())
    return loss, named


def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    fixed = {k: v for k, v in params.items() if "running_" in k}
    flat = Flat({k: v for k, v in params.items() if k not in fixed})
    velocity = np.zeros_like(flat.vector)
    losses = np.full(steps, np.nan, dtype=np.float32)
    for step in range(steps):
        losses[step], grads = loss_gradient(images, labels, {**dict(flat), **fixed})
        gradient = Flat({k: grads[k] for k, _ in flat}).vector
        flat.vector, velocity = sgd_momentum_step(flat.vector, gradient, velocity, lr, momentum)
    return losses, {**fixed, **dict(flat)}
