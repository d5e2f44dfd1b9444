"""Style: prints, warnings, timings and assertions everywhere, on stdout and stderr.

Solves: linear_forward, linear_backward, relu_forward, relu_backward, global_avg_pool_forward, global_avg_pool_backward,
softmax_cross_entropy, sgd_momentum_step, train_small_resnet
"""
import sys
import time
import warnings

import numpy as np

print("numpy", np.__version__)
np.set_printoptions(precision=3, suppress=True)
np.random.seed(0)


def show(name, value, file=None):
    print("[%s] shape %s, mean %.4f" % (name, np.shape(value), np.mean(value)), file=file or sys.stdout, flush=True)
    return value


def linear_forward(x, weight, bias):
    print("linear_forward", x.shape, weight.shape)
    assert x.ndim == 2 and weight.ndim == 2, "expected matrices"
    assert x.shape[1] == weight.shape[1], f"{x.shape} does not fit {weight.shape}"
    return show("y", np.dot(x, weight.T) + bias), {"x": x, "weight": weight}


def linear_backward(dy, cache):
    print("linear_backward", dy)
    return show("dx", np.dot(dy, cache["weight"])), show("dw", np.dot(dy.T, cache["x"])), dy.sum(axis=0)


def relu_forward(x):
    y = np.maximum(x, 0)
    print("relu:", (y == 0).sum(), "of", y.size, "are off", file=sys.stderr)
    return y, y


def relu_backward(dy, cache):
    warnings.warn("relu_backward was called", stacklevel=1)
    return np.where(cache > 0, dy, 0)


def global_avg_pool_forward(x):
    start = time.time()
    y = x.mean(axis=-1).mean(axis=-1)
    print(f"pooled in {1e3 * (time.time() - start):.2f} ms")
    return y, x.shape


def global_avg_pool_backward(dy, cache):
    N, C, H, W = cache
    dx = np.zeros(cache)
    dx += dy.reshape(N, C, 1, 1) / (H * W)
    return show("dx", dx, sys.stderr)


def softmax_cross_entropy(logits, labels):
    z = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(z)
    p /= p.sum(axis=1, keepdims=True)
    n = len(logits)
    print("predicted", p.argmax(axis=1), "labels", labels, "accuracy", (p.argmax(axis=1) == labels).mean())
    lse = np.log(np.exp(z).sum(axis=1))
    loss = (lse - z[np.arange(n), labels]).sum() / n
    p[np.arange(n), labels] -= 1
    return show("loss", loss), p / n


def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    grad = grad + weight_decay * param
    new = momentum * velocity + grad
    print("|g| =", np.linalg.norm(grad), "|v| =", np.linalg.norm(new))
    return param - lr * new, new


def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    def bn(x, name):
        print("  bn", name, end=" ... ")
        y, cache, _, _ = batchnorm2d_forward(
            x, params[name + ".weight"], params[name + ".bias"], params[name + ".running_mean"],
            params[name + ".running_var"], True)
        print("done")
        return y, cache

    params = params.copy()
    velocities = {}
    history = []
    for step in range(steps):
        print("=" * 30, "step", step, "=" * 30)
        x, conv = conv2d_forward(images, params["stem.conv.weight"], padding=1)
        x, norm = bn(x, "stem.bn")
        x, relu = relu_forward(x)
        b1 = {k.replace("block1.", ""): v for k, v in params.items() if k.startswith("block1.")}
        b2 = {k.replace("block2.", ""): v for k, v in params.items() if k.startswith("block2.")}
        x, first = basic_block_forward(x, b1, stride=1, training=True)
        x, second = basic_block_forward(x, b2, stride=2, training=True)
        x, pool = global_avg_pool_forward(x)
        x, head = linear_forward(x, params["head.weight"], params["head.bias"])
        loss, d = softmax_cross_entropy(x, labels)
        history.append(loss)
        grads = {}
        d, grads["head.weight"], grads["head.bias"] = linear_backward(d, head)
        d = global_avg_pool_backward(d, pool)
        d, inner = basic_block_backward(d, second)
        for k in inner:
            grads["block2." + k] = inner[k]
        d, inner = basic_block_backward(d, first)
        for k in inner:
            grads["block1." + k] = inner[k]
        d = relu_backward(d, relu)
        d, grads["stem.bn.weight"], grads["stem.bn.bias"] = batchnorm2d_backward(d, norm)
        d, grads["stem.conv.weight"], _ = conv2d_backward(d, conv)
        for k in grads:
            if k not in velocities:
                velocities[k] = np.zeros_like(params[k])
            params[k], velocities[k] = sgd_momentum_step(params[k], grads[k], velocities[k], lr, momentum)
        print("loss", history[-1])
    return np.array(history), params
