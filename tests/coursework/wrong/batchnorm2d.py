"""Mistakes in batch normalisation."""

A = (0, 2, 3)


def col(v):
    return np.reshape(v, (-1, 1, 1))


def moved(old, new, momentum):
    return old + momentum * (new - old)


def statistics(x):
    """mean, biased and unbiased variance"""
    return x.mean(A), x.var(A), x.var(A, ddof=1)


def finish(x, mean, var, weight, bias, training, eps):
    std = np.sqrt(var + eps)
    xhat = (x - mean) / std
    cache = {"xhat": xhat, "std": np.broadcast_to(std.ravel(), (len(weight),)) if std.size <= 1 else std.ravel(),
             "gamma": weight, "training": training}
    return xhat * col(weight) + col(bias), cache


def right(x, weight, bias, running_mean, running_var, training, momentum, eps):
    """y, cache, and both new statistics"""
    mean, var, unbiased = statistics(x)
    if not training:
        return (*finish(x, col(running_mean), col(running_var), weight, bias, False, eps), running_mean, running_var)
    y, cache = finish(x, col(mean), col(var), weight, bias, True, eps)
    return y, cache, moved(running_mean, mean, momentum), moved(running_var, unbiased, momentum)


@wrong("bn-statistics-per-pixel", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    _, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    flat = x.reshape(len(x), -1)
    mean, var = (flat.mean(0), flat.var(0)) if training else (
        np.repeat(running_mean, x[0, 0].size), np.repeat(running_var, x[0, 0].size))
    y = ((flat - mean) / np.sqrt(var + eps)).reshape(x.shape) * col(weight) + col(bias)
    return y, cache, new_mean, new_var


@wrong("bn-statistics-per-image", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    if training:
        y = np.stack([
            (image - col(image.mean((1, 2)))) / col(np.sqrt(image.var((1, 2)) + eps)) * col(weight) + col(bias)
            for image in x
        ])
    return y, cache, new_mean, new_var


@wrong("bn-statistics-per-example", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    if training:
        y = np.stack([(i - i.mean()) / np.sqrt(i.var() + eps) for i in x]) * col(weight) + col(bias)
    return y, cache, new_mean, new_var


@wrong("bn-statistics-of-everything", "batchnorm2d_forward", fails=("y", "running_mean", "running_var"))
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    if not training:
        return right(x, weight, bias, running_mean, running_var, False, momentum, eps)
    y, cache = finish(x, np.mean(x), np.var(x), weight, bias, True, eps)
    return y, cache, moved(running_mean, np.mean(x), momentum), moved(running_var, np.var(x, ddof=1), momentum)


@wrong("bn-normalised-with-unbiased-variance", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    if not training:
        return right(x, weight, bias, running_mean, running_var, False, momentum, eps)
    rows = x.swapaxes(0, 1).reshape(x.shape[1], -1)
    mean, var = rows.mean(1), ((rows - rows.mean(1)[:, None]) ** 2).sum(1) / (rows.shape[1] - 1)
    y, cache = finish(x, col(mean), col(var), weight, bias, True, eps)
    return y, cache, moved(running_mean, mean, momentum), moved(running_var, var, momentum)


@wrong("bn-running-var-biased", "batchnorm2d_forward", fails="running_var")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    mean, var = running_mean, running_var
    if training:
        rows = x.swapaxes(0, 1).reshape(x.shape[1], -1)
        mean = rows.mean(1)
        var = (rows ** 2).mean(1) - mean ** 2
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * var
    return (*finish(x, col(mean), col(var), weight, bias, training, eps), running_mean, running_var)


@wrong("bn-running-std", "batchnorm2d_forward", fails="running_var")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    if training:
        new_var = (1 - momentum) * running_var + momentum * np.std(x, axis=A, ddof=1)
    return y, cache, new_mean, new_var


@wrong("bn-momentum-reversed", "batchnorm2d_forward", fails=("running_mean", "running_var"))
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    if training:
        mean, _, unbiased = statistics(x)
        new_mean = momentum * running_mean + (1 - momentum) * mean
        new_var = momentum * running_var + (1 - momentum) * unbiased
    return y, cache, new_mean, new_var


@wrong("bn-running-not-updated", "batchnorm2d_forward", fails=("running_mean", "running_var"))
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, cache, _, _ = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    return y, cache, running_mean, running_var


@wrong("bn-running-updated-in-evaluation", "batchnorm2d_forward", fails=("running_mean", "running_var"))
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    mean, var, unbiased = statistics(x)
    used = (mean, var) if training else (running_mean, running_var)
    y, cache = finish(x, col(used[0]), col(used[1]), weight, bias, training, eps)
    return y, cache, moved(running_mean, mean, momentum), moved(running_var, unbiased, momentum)


@wrong("bn-batch-statistics-in-evaluation", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    mean, var, unbiased = statistics(x)
    y, cache = finish(x, col(mean), col(var), weight, bias, training, eps)
    if training:
        running_mean, running_var = moved(running_mean, mean, momentum), moved(running_var, unbiased, momentum)
    return y, cache, running_mean, running_var


@wrong("bn-running-statistics-in-training", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, cache = finish(x, col(running_mean), col(running_var), weight, bias, training, eps)
    if training:
        mean, _, unbiased = statistics(x)
        running_mean, running_var = moved(running_mean, mean, momentum), moved(running_var, unbiased, momentum)
    return y, cache, running_mean, running_var


@wrong("bn-updated-statistics-in-training", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    if training:
        mean, _, unbiased = statistics(x)
        running_mean, running_var = moved(running_mean, mean, momentum), moved(running_var, unbiased, momentum)
    y, cache = finish(x, col(running_mean), col(running_var), weight, bias, training, eps)
    return y, cache, running_mean, running_var


@wrong("bn-eps-outside-root", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    mean, std = (x.mean(A), x.std(A)) if training else (running_mean, np.sqrt(running_var))
    y = (x - col(mean)) / (col(std) + eps) * col(weight) + col(bias)
    return y, cache, new_mean, new_var


@wrong("bn-divided-by-variance", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    _, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    mean, var = (x.mean(A), x.var(A)) if training else (running_mean, running_var)
    return col(weight) * ((x - col(mean)) / col(var + eps)) + col(bias), cache, new_mean, new_var


@wrong("bn-mean-not-subtracted", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    _, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    return x * col(weight / cache["std"]) + col(bias), cache, new_mean, new_var


@wrong("bn-gamma-forgotten", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    _, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    return cache["xhat"] + col(bias), cache, new_mean, new_var


@wrong("bn-gamma-beta-swapped", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, beta, gamma, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    return right(x, gamma, beta, running_mean, running_var, training, momentum, eps)


@wrong("bn-scaled-after-shift", "batchnorm2d_forward", fails="y")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    _, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    return (cache["xhat"] + col(bias)) * col(weight), cache, new_mean, new_var


def parameters(dy, cache):
    return (dy * cache["xhat"]).sum(A), dy.sum(A)


def batch_mean(t):
    return t.mean(A, keepdims=True)


@wrong("bn-backward-constant-statistics", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    dw, db = parameters(dy, cache)
    return np.einsum("nchw,c->nchw", dy, cache["gamma"] / cache["std"]), dw, db


@wrong("bn-backward-mean-term-missing", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    dw, db = parameters(dy, cache)
    xhat, std = cache["xhat"], col(cache["std"])
    dxhat = dy * col(cache["gamma"])
    dx = dxhat / std
    if cache["training"]:
        # only the path through the variance
        dvar = (dxhat * xhat * std).sum(A) * -0.5 * cache["std"] ** -3
        dx = dx + col(dvar) * 2 * (xhat * std) / (dy.size // dy.shape[1])
    return dx, dw, db


@wrong("bn-backward-variance-term-missing", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    dw, db = parameters(dy, cache)
    dxhat = dy * col(cache["gamma"])
    if cache["training"]:
        dxhat = dxhat - batch_mean(dxhat)
    return dxhat / col(cache["std"]), dw, db


@wrong("bn-backward-gamma-forgotten", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    dw, db = parameters(dy, cache)
    d, h = dy, cache["xhat"]
    if cache["training"]:
        d = d - batch_mean(d) - h * batch_mean(d * h)
    return d / col(cache["std"]), dw, db


@wrong("bn-backward-std-forgotten", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    dw, db = parameters(dy, cache)
    d, h = dy * col(cache["gamma"]), cache["xhat"]
    return d - batch_mean(d) - h * batch_mean(d * h) if cache["training"] else d, dw, db


@wrong("bn-backward-training-formula-in-evaluation", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    xhat, std, gamma = cache["xhat"], cache["std"], cache["gamma"]
    m = dy.size / len(gamma)
    dw, db = parameters(dy, cache)
    return col(gamma / std) / m * (m * dy - col(db) - xhat * col(dw)), dw, db


@wrong("bn-backward-terms-not-averaged", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    dw, db = parameters(dy, cache)
    d = dy
    if cache["training"]:
        d = dy - col(db) - cache["xhat"] * col(dw)
    return d * col(cache["gamma"] / cache["std"]), dw, db


@wrong("bn-backward-terms-of-images", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    xhat, std, gamma, training = cache.values()
    N = dy.shape[0]
    dw, db = parameters(dy, cache)
    d = N * dy - col(db) - xhat * col(dw) if training else N * dy
    return col(gamma) / (N * col(std)) * d, dw, db


@wrong("bn-backward-per-image", "batchnorm2d_backward", fails="dx")
def batchnorm2d_backward(dy, cache):
    dw, db = parameters(dy, cache)
    d, h = dy * col(cache["gamma"]), cache["xhat"]
    if cache["training"]:
        d = np.stack([a - a.mean((1, 2), keepdims=True) - b * (a * b).mean((1, 2), keepdims=True) for a, b in zip(d, h)])
    return d / col(cache["std"]), dw, db


def right_dx(dy, cache):
    d, h = dy * col(cache["gamma"]), cache["xhat"]
    if cache["training"]:
        d = d - batch_mean(d) - h * batch_mean(d * h)
    return d / col(cache["std"])


@wrong("bn-backward-dweight-with-x", "batchnorm2d_backward", fails="dweight")
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, cache, new_mean, new_var = right(x, weight, bias, running_mean, running_var, training, momentum, eps)
    return y, {**cache, "x": x}, new_mean, new_var


@wrong("bn-backward-dweight-with-x", "batchnorm2d_backward", fails="dweight")
def batchnorm2d_backward(dy, cache):
    return right_dx(dy, cache), np.einsum("nchw,nchw->c", dy, cache["x"]), dy.sum(A)


@wrong("bn-backward-dweight-not-scaled", "batchnorm2d_backward", fails="dweight")
def batchnorm2d_backward(dy, cache):
    centred = cache["xhat"] * col(cache["std"])
    return right_dx(dy, cache), np.sum(dy * centred, axis=A), dy.sum(A)


@wrong("bn-backward-parameters-averaged", "batchnorm2d_backward", fails=("dweight", "dbias"))
def batchnorm2d_backward(dy, cache):
    return right_dx(dy, cache), batch_mean(dy * cache["xhat"]).ravel(), batch_mean(dy).ravel()


@wrong("bn-backward-parameters-divided-by-batch", "batchnorm2d_backward", fails=("dweight", "dbias"))
def batchnorm2d_backward(dy, cache):
    dw, db = parameters(dy, cache)
    return right_dx(dy, cache), dw / dy.shape[0], db / dy.shape[0]


@wrong("bn-backward-parameters-swapped", "batchnorm2d_backward", fails=("dweight", "dbias"))
def batchnorm2d_backward(dy, cache):
    dgamma, dbeta = parameters(dy, cache)
    return right_dx(dy, cache), dbeta, dgamma
