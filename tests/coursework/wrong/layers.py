"""Mistakes in activation, pooling, the linear layer and the loss."""


@wrong("relu-absolute", "relu_forward", fails="y")
def relu_forward(x):
    return np.sqrt(x * x), {"x": x}


@wrong("relu-leaky", "relu_forward", fails="y")
def relu_forward(x):
    return np.maximum(0.01 * x, x), {"x": x}


@wrong("relu-negative-kept", "relu_forward", fails="y")
def relu_forward(x):
    return np.where(x > 0, 0, x), {"x": x}


@wrong("relu-step", "relu_forward", fails="y")
def relu_forward(x):
    return np.heaviside(x, 0.0), {"x": x}


@wrong("relu-clipped", "relu_forward", fails="y")
def relu_forward(x):
    return np.clip(x, 0, 1), {"x": x}


@wrong("relu-backward-mask-from-dy", "relu_backward", fails="dx")
def relu_backward(dy, cache):
    dx = dy.copy()
    dx[dx < 0] = 0
    return dx


@wrong("relu-backward-unmasked", "relu_backward", fails="dx")
def relu_backward(dy, cache):
    return dy


@wrong("relu-backward-mask-inverted", "relu_backward", fails="dx")
def relu_backward(dy, cache):
    dx = np.array(dy)
    dx[cache["x"] > 0] = 0
    return dx


@wrong("relu-backward-without-dy", "relu_backward", fails="dx")
def relu_backward(dy, cache):
    dx = np.zeros(dy.shape)
    dx[cache["x"] > 0] = 1
    return dx


@wrong("relu-backward-times-value", "relu_backward", fails="dx")
def relu_backward(dy, cache):
    return dy * np.maximum(cache["x"], 0)


@wrong("relu-backward-sign", "relu_backward", fails="dx")
def relu_backward(dy, cache):
    return dy * np.sign(cache["x"])


def places(x, k, stride, padding):
    """Output place and the part of the image under its window"""
    h, w = x.shape[2:]
    for p in range((h + 2 * padding - k) // stride + 1):
        for q in range((w + 2 * padding - k) // stride + 1):
            r, s = p * stride - padding, q * stride - padding
            yield p, q, x[:, :, max(r, 0):r + k, max(s, 0):s + k]


def pooled(x, k, stride, padding, reduction):
    oh, ow = ((n + 2 * padding - k) // stride + 1 for n in x.shape[2:])
    y = np.zeros((*x.shape[:2], oh, ow))
    for p, q, window in places(x, k, stride, padding):
        y[:, :, p, q] = reduction(window.reshape(*x.shape[:2], -1), axis=2)
    return y


def pool_cache(x, k, stride, padding):
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf)
    v = windows(xp, k, k, stride, 0, 1)
    return dict(shape=x.shape, arg=v.reshape(*v.shape[:4], -1).argmax(-1), k=k, s=stride, p=padding)


@wrong("max-pool-padded-with-zeros", "max_pool2d_forward", fails="y")
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return pooled(xp, kernel_size, stride, 0, np.max), pool_cache(x, kernel_size, stride, padding)


@wrong("max-pool-average", "max_pool2d_forward", fails="y")
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return pooled(xp, kernel_size, stride, 0, np.mean), pool_cache(x, kernel_size, stride, padding)


@wrong("max-pool-minimum", "max_pool2d_forward", fails="y")
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    return pooled(x, kernel_size, stride, padding, np.min), pool_cache(x, kernel_size, stride, padding)


@wrong("max-pool-windows-apart", "max_pool2d_forward", fails="y")
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    y = pooled(x, kernel_size, kernel_size, padding, np.max)
    return y, pool_cache(x, kernel_size, stride, padding)


@wrong("max-pool-stride-ignored", "max_pool2d_forward", fails="y")
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    return pooled(x, kernel_size, 1, padding, np.max), pool_cache(x, kernel_size, stride, padding)


@wrong("max-pool-padding-forgotten", "max_pool2d_forward", fails="y")
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    return pooled(x, kernel_size, stride, 0, np.max), pool_cache(x, kernel_size, stride, padding)


@wrong("max-pool-over-channels", "max_pool2d_forward", fails="y")
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    y = np.stack([
        np.full(window.shape[:2], window.reshape(len(x), -1).max(1)[:, None])
        for _, _, window in places(x, kernel_size, stride, padding)
    ], axis=2)
    oh = (x.shape[2] + 2 * padding - kernel_size) // stride + 1
    return y.reshape(*x.shape[:2], oh, -1), pool_cache(x, kernel_size, stride, padding)


@wrong("max-pool-positions-transposed", "max_pool2d_forward", fails="y")
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    y = pooled(x, kernel_size, stride, padding, np.max)
    return np.einsum("ncpq->ncqp", y), pool_cache(x, kernel_size, stride, padding)


def on_padded(dy, cache, spread, write=None):
    """``spread(arg, k)`` says what share of dy the pixels (k, k) of a window get"""
    n, c, h, w = cache["shape"]
    k, s, p = cache["k"], cache["s"], cache["p"]
    big = np.zeros((n, c, h + 2 * p, w + 2 * p))
    for index in np.ndindex(*dy.shape):
        a, b, i, j = index
        big[a, b, i * s:i * s + k, j * s:j * s + k] += spread(cache["arg"][index], k) * dy[index]
    return big


def winner(arg, k):
    return np.eye(k * k)[arg].reshape(k, k)


def crop(big, cache):
    p = cache["p"]
    return big[:, :, p:p + cache["shape"][2], p:p + cache["shape"][3]]


@wrong("max-pool-backward-average", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    return crop(on_padded(dy, cache, lambda arg, k: np.ones((k, k)) / k ** 2), cache)


@wrong("max-pool-backward-all-pixels", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    return crop(on_padded(dy, cache, lambda arg, k: np.ones((k, k))), cache)


@wrong("max-pool-backward-overlaps-assigned", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    n, c, h, w = cache["shape"]
    big = np.zeros((n, c, h + 2 * cache["p"], w + 2 * cache["p"]))
    for index in np.ndindex(*dy.shape):
        i, j = divmod(cache["arg"][index], cache["k"])
        big[index[0], index[1], index[2] * cache["s"] + i, index[3] * cache["s"] + j] = dy[index]
    return crop(big, cache)


@wrong("max-pool-backward-stride-ignored", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    return crop(on_padded(dy, {**cache, "s": 1}, winner), cache)


@wrong("max-pool-backward-padding-kept", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    return on_padded(dy, cache, winner)


@wrong("max-pool-backward-padding-cut-at-end", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    return on_padded(dy, cache, winner)[:, :, :cache["shape"][2], :cache["shape"][3]]


@wrong("max-pool-backward-first-pixel", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    return crop(on_padded(dy, cache, lambda arg, k: winner(0, k)), cache)


@wrong("max-pool-backward-winner-transposed", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    return crop(on_padded(dy, cache, lambda arg, k: winner(arg, k).T), cache)


@wrong("max-pool-backward-without-dy", "max_pool2d_backward", fails="dx")
def max_pool2d_backward(dy, cache):
    return crop(on_padded(np.ones_like(dy), cache, winner), cache)


@wrong("global-avg-pool-sum", "global_avg_pool_forward", fails="y")
def global_avg_pool_forward(x):
    return np.einsum("nchw->nc", x), dict(hw=x.shape[2:])


@wrong("global-avg-pool-divided-by-batch", "global_avg_pool_forward", fails="y")
def global_avg_pool_forward(x):
    return x.mean((2, 3)) / len(x), dict(hw=x.shape[2:])


@wrong("global-avg-pool-maximum", "global_avg_pool_forward", fails="y")
def global_avg_pool_forward(x):
    return np.amax(x, axis=(-2, -1)), dict(hw=x.shape[2:])


@wrong("global-avg-pool-axes-kept", "global_avg_pool_forward", fails="y")
def global_avg_pool_forward(x):
    return np.mean(x, (2, 3), keepdims=True), dict(hw=x.shape[2:])


@wrong("global-avg-pool-over-batch", "global_avg_pool_forward", fails="y")
def global_avg_pool_forward(x):
    return x.mean(0).mean((1, 2)), dict(hw=x.shape[2:])


@wrong("global-avg-pool-backward-not-divided", "global_avg_pool_backward", fails="dx")
def global_avg_pool_backward(dy, cache):
    return np.einsum("nc,hw->nchw", dy, np.ones(cache["hw"]))


@wrong("global-avg-pool-backward-height-only", "global_avg_pool_backward", fails="dx")
def global_avg_pool_backward(dy, cache):
    h, w = cache["hw"]
    return np.repeat(np.repeat(dy[:, :, None, None] / h, h, axis=2), w, axis=3)


@wrong("global-avg-pool-backward-first-pixel", "global_avg_pool_backward", fails="dx")
def global_avg_pool_backward(dy, cache):
    dx = np.zeros((*dy.shape, *cache["hw"]))
    dx[..., 0, 0] = dy
    return dx


@wrong("global-avg-pool-backward-not-spread", "global_avg_pool_backward", fails="dx")
def global_avg_pool_backward(dy, cache):
    return np.expand_dims(dy, (2, 3)) / np.prod(cache["hw"])


@wrong("linear-bias-forgotten", "linear_forward", fails="y")
def linear_forward(x, weight, bias):
    return np.inner(x, weight), dict(x=x, weight=weight)


@wrong("linear-weight-not-transposed", "linear_forward", fails="y")
def linear_forward(x, weight, bias):
    matrix = np.ravel(weight).reshape(weight.shape[1], weight.shape[0])  # so that the shapes fit
    return np.dot(x, matrix) + bias, dict(x=x, weight=weight)


@wrong("linear-rectified", "linear_forward", fails="y")
def linear_forward(x, weight, bias):
    z = np.einsum("nd,kd->nk", x, weight) + bias
    return np.where(z > 0, z, 0), dict(x=x, weight=weight)


@wrong("linear-bias-subtracted", "linear_forward", fails="y")
def linear_forward(x, weight, bias):
    return (weight @ x.T - bias[:, None]).T, dict(x=x, weight=weight)


@wrong("linear-backward-dx-averaged", "linear_backward", fails="dx")
def linear_backward(dy, cache):
    dx = np.array([d @ cache["weight"] for d in dy]) / len(dy)
    return dx, dy.T @ cache["x"], dy.sum(0)


@wrong("linear-backward-dweight-averaged", "linear_backward", fails="dweight")
def linear_backward(dy, cache):
    dweight = np.mean([np.outer(d, x) for d, x in zip(dy, cache["x"])], axis=0)
    return dy @ cache["weight"], dweight, dy.sum(0)


@wrong("linear-backward-dweight-transposed", "linear_backward", fails="dweight")
def linear_backward(dy, cache):
    return dy @ cache["weight"], np.tensordot(cache["x"], dy, axes=(0, 0)), dy.sum(0)


@wrong("linear-backward-dweight-last-image", "linear_backward", fails="dweight")
def linear_backward(dy, cache):
    dbias = 0
    for d, x in zip(dy, cache["x"]):
        dweight = np.outer(d, x)
        dbias = dbias + d
    return dy @ cache["weight"], dweight, dbias


@wrong("linear-backward-dbias-mean", "linear_backward", fails="dbias")
def linear_backward(dy, cache):
    return dy @ cache["weight"], dy.T @ cache["x"], np.average(dy, axis=0)


@wrong("linear-backward-dbias-wrong-axis", "linear_backward", fails="dbias")
def linear_backward(dy, cache):
    return dy @ cache["weight"], dy.T @ cache["x"], np.einsum("nk->n", dy)


@wrong("linear-backward-dbias-ones", "linear_backward", fails="dbias")
def linear_backward(dy, cache):
    return dy @ cache["weight"], dy.T @ cache["x"], np.ones_like(dy).sum(axis=0)


def softmax(z, axis=1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(z):
    return z - np.logaddexp.reduce(z, axis=1)[:, None]


def one_hot(z, labels):
    return (labels[:, None] == np.arange(z.shape[1])).astype(float)


def right_gradient(z, labels):
    return (softmax(z) - one_hot(z, labels)) / len(z)


def right_loss(z, labels):
    return -(log_softmax(z) * one_hot(z, labels)).sum() / len(z)


@wrong("softmax-over-batch", "softmax_cross_entropy", fails=("loss", "dlogits"))
def softmax_cross_entropy(logits, labels):
    p = softmax(logits, axis=0)
    d = p.copy()
    d[np.arange(len(labels)), labels] -= 1
    return -np.mean(np.log(p[np.arange(len(labels)), labels])), d / len(labels)


@wrong("softmax-overflow", "softmax_cross_entropy", fails=("loss", "dlogits"))
def softmax_cross_entropy(logits, labels):
    e = np.exp(logits)
    s = e.sum(axis=1)
    loss = np.mean(np.log(s) - logits[np.arange(len(labels)), labels])
    return loss, (e / s[:, None] - one_hot(logits, labels)) / len(labels)


@wrong("softmax-loss-summed", "softmax_cross_entropy", fails="loss")
def softmax_cross_entropy(logits, labels):
    loss = 0.0
    for row, label in zip(log_softmax(logits), labels):
        loss -= row[label]
    return loss, right_gradient(logits, labels)


@wrong("softmax-loss-negated", "softmax_cross_entropy", fails="loss")
def softmax_cross_entropy(logits, labels):
    return np.mean(log_softmax(logits)[range(len(labels)), labels]), right_gradient(logits, labels)


@wrong("softmax-loss-averaged-over-classes", "softmax_cross_entropy", fails="loss")
def softmax_cross_entropy(logits, labels):
    return np.mean(-log_softmax(logits) * one_hot(logits, labels)), right_gradient(logits, labels)


@wrong("softmax-loss-log2", "softmax_cross_entropy", fails="loss")
def softmax_cross_entropy(logits, labels):
    z = logits - logits.max(1, keepdims=True)
    bits = np.log2(np.exp(z).sum(1)) - z[np.arange(len(z)), labels] * np.log2(np.e)
    return bits.mean(), right_gradient(logits, labels)


@wrong("softmax-loss-clipped", "softmax_cross_entropy", fails="loss")
def softmax_cross_entropy(logits, labels):
    p = softmax(logits)[np.arange(len(labels)), labels]
    return -np.log(p + 1e-12).mean(), right_gradient(logits, labels)


@wrong("softmax-loss-without-log", "softmax_cross_entropy", fails="loss")
def softmax_cross_entropy(logits, labels):
    return -np.sum(softmax(logits) * one_hot(logits, labels)) / len(labels), right_gradient(logits, labels)


@wrong("softmax-gradient-not-averaged", "softmax_cross_entropy", fails="dlogits")
def softmax_cross_entropy(logits, labels):
    d = np.exp(log_softmax(logits))
    for n, label in enumerate(labels):
        d[n, label] -= 1
    return right_loss(logits, labels), d


@wrong("softmax-gradient-averaged-over-classes", "softmax_cross_entropy", fails="dlogits")
def softmax_cross_entropy(logits, labels):
    return right_loss(logits, labels), (softmax(logits) - one_hot(logits, labels)) / logits.size


@wrong("softmax-gradient-without-labels", "softmax_cross_entropy", fails="dlogits")
def softmax_cross_entropy(logits, labels):
    return right_loss(logits, labels), np.exp(log_softmax(logits)) / len(logits)


@wrong("softmax-gradient-negated", "softmax_cross_entropy", fails="dlogits")
def softmax_cross_entropy(logits, labels):
    return right_loss(logits, labels), (one_hot(logits, labels) - softmax(logits)) / len(logits)


@wrong("softmax-gradient-label-only", "softmax_cross_entropy", fails="dlogits")
def softmax_cross_entropy(logits, labels):
    d = np.zeros(logits.shape)
    rows = np.arange(len(labels))
    d[rows, labels] = softmax(logits)[rows, labels] - 1
    return right_loss(logits, labels), d / len(labels)
