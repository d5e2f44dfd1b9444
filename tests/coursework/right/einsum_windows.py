"""Style: sliding_window_view and einsum, caches that are dicts, helpers with names of their own.

Solves: all
"""
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def windows(x, kh, kw, stride, padding, dilation):
    """(..., H, W) -> (..., oh, ow, kh, kw), a view"""
    pad = [(0, 0)] * (x.ndim - 2) + [(padding, padding)] * 2
    v = sliding_window_view(np.pad(x, pad), (dilation * (kh - 1) + 1, dilation * (kw - 1) + 1), axis=(-2, -1))
    return v[..., ::stride, ::stride, ::dilation, ::dilation]


def put_back(parts, shape, stride, padding, dilation):
    """(..., oh, ow, kh, kw) -> (..., H, W), the sum of what lands on every pixel"""
    *lead, H, W = shape
    oh, ow, kh, kw = parts.shape[-4:]
    out = np.zeros((*lead, H + 2 * padding, W + 2 * padding))
    for i in range(kh):
        for j in range(kw):
            r = slice(i * dilation, i * dilation + stride * (oh - 1) + 1, stride)
            c = slice(j * dilation, j * dilation + stride * (ow - 1) + 1, stride)
            out[..., r, c] += parts[..., i, j]
    return out[..., padding:padding + H, padding:padding + W]


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    v = windows(x, *kernel_size, stride, padding, dilation)
    n, c, oh, ow, kh, kw = v.shape
    return v.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * kh * kw, oh * ow)


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = image_shape
    kh, kw = kernel_size
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    parts = cols.reshape(n, c, kh, kw, oh, -1).transpose(0, 1, 4, 5, 2, 3)
    return put_back(parts, image_shape, stride, padding, dilation)


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, c, h, w = x.shape
    o, cg, kh, kw = weight.shape
    v = windows(x.reshape(n, groups, cg, h, w), kh, kw, stride, padding, dilation)
    y = np.einsum("ngcpqij,gocij->ngopq", v, weight.reshape(groups, -1, cg, kh, kw), optimize=True)
    y = y.reshape(n, o, *y.shape[3:])
    if bias is not None:
        y = y + bias.reshape(1, -1, 1, 1)
    return y, dict(x=x, weight=weight, bias=bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv2d_backward(dy, cache):
    x, weight, g = cache["x"], cache["weight"], cache["groups"]
    n, c, h, w = x.shape
    o, cg, kh, kw = weight.shape
    dyg = dy.reshape(n, g, o // g, *dy.shape[2:])
    v = windows(x.reshape(n, g, cg, h, w), kh, kw, cache["stride"], cache["padding"], cache["dilation"])
    dweight = np.einsum("ngopq,ngcpqij->gocij", dyg, v, optimize=True).reshape(weight.shape)
    parts = np.einsum("ngopq,gocij->ngcpqij", dyg, weight.reshape(g, -1, cg, kh, kw), optimize=True)
    dx = put_back(parts, (n, g, cg, h, w), cache["stride"], cache["padding"], cache["dilation"]).reshape(x.shape)
    return dx, dweight, None if cache["bias"] is None else np.einsum("nopq->o", dy)


def chan(v):
    return v.reshape(1, -1, 1, 1)


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    if training:
        m = x.shape[0] * x.shape[2] * x.shape[3]
        mean = np.einsum("nchw->c", x) / m
        var = np.einsum("nchw,nchw->c", x - chan(mean), x - chan(mean)) / m
        new_mean = running_mean + momentum * (mean - running_mean)
        new_var = running_var + momentum * (var * (m / (m - 1)) - running_var)
    else:
        mean, var = running_mean, running_var
        new_mean, new_var = running_mean.copy(), running_var.copy()
    std = np.sqrt(var + eps)
    xhat = (x - chan(mean)) / chan(std)
    return chan(weight) * xhat + chan(bias), dict(xhat=xhat, std=std, gamma=weight, training=training), new_mean, new_var


def batchnorm2d_backward(dy, cache):
    xhat, std, gamma = cache["xhat"], cache["std"], cache["gamma"]
    dgamma, dbeta = np.einsum("nchw,nchw->c", dy, xhat), np.einsum("nchw->c", dy)
    dxhat = dy * chan(gamma)
    if not cache["training"]:
        return dxhat / chan(std), dgamma, dbeta
    mean = lambda t: t.mean(axis=(0, 2, 3), keepdims=True)
    return (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat)) / chan(std), dgamma, dbeta


def relu_forward(x):
    return np.where(x > 0, x, 0.0), dict(x=x)


def relu_backward(dy, cache):
    return np.where(cache["x"] > 0, dy, 0.0)


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    p = padding
    xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=-np.inf)
    v = windows(xp, kernel_size, kernel_size, stride, 0, 1)
    flat = v.reshape(*v.shape[:4], -1)
    return flat.max(-1), dict(shape=x.shape, arg=flat.argmax(-1), k=kernel_size, s=stride, p=padding)


def max_pool2d_backward(dy, cache):
    k = cache["k"]
    hit = (cache["arg"][..., None] == np.arange(k * k)) * dy[..., None]
    return put_back(hit.reshape(*dy.shape, k, k), cache["shape"], cache["s"], cache["p"], 1)


def global_avg_pool_forward(x):
    return np.einsum("nchw->nc", x) / (x.shape[2] * x.shape[3]), dict(hw=x.shape[2:])


def global_avg_pool_backward(dy, cache):
    return np.einsum("nc,hw->nchw", dy, np.ones(cache["hw"])) / np.prod(cache["hw"])


def linear_forward(x, weight, bias):
    return np.einsum("nd,kd->nk", x, weight) + bias, dict(x=x, weight=weight)


def linear_backward(dy, cache):
    dx = np.einsum("nk,kd->nd", dy, cache["weight"])
    return dx, np.einsum("nk,nd->kd", dy, cache["x"]), np.einsum("nk->k", dy)


def softmax_cross_entropy(logits, labels):
    n, k = logits.shape
    z = logits - logits.max(axis=1, keepdims=True)
    logsum = np.log(np.exp(z).sum(axis=1))
    loss = np.mean(logsum - z[np.arange(n), labels])
    p = np.exp(z - logsum[:, None])
    return loss, (p - np.eye(k)[labels]) / n


def bn(x, params, name, training):
    keys = ["weight", "bias", "running_mean", "running_var"]
    return batchnorm2d_forward(x, *[params[name + "." + k] for k in keys], training)[:2]


def conv_bn(x, params, conv, norm, training, **options):
    y, conv_cache = conv2d_forward(x, params[conv + ".weight"], **options)
    y, bn_cache = bn(y, params, norm, training)
    return y, (conv, norm, conv_cache, bn_cache)


def conv_bn_backward(dy, cache, grads):
    conv, norm, conv_cache, bn_cache = cache
    dy, grads[norm + ".weight"], grads[norm + ".bias"] = batchnorm2d_backward(dy, bn_cache)
    dx, grads[conv + ".weight"], _ = conv2d_backward(dy, conv_cache)
    return dx


def residual_forward(x, params, training, stride, main):
    """``main`` lists the options of the convolutions on the main path"""
    caches, h = [], x
    for number, options in enumerate(main, 1):
        h, cache = conv_bn(h, params, f"conv{number}", f"bn{number}", training, **options)
        relu = None
        if number < len(main):
            h, relu = relu_forward(h)
        caches.append((cache, relu))
    side, side_cache = x, None
    if "shortcut.conv.weight" in params:
        side, side_cache = conv_bn(x, params, "shortcut.conv", "shortcut.bn", training, stride=stride)
    y, last = relu_forward(h + side)
    return y, dict(caches=caches, side=side_cache, last=last)


def residual_backward(dy, cache):
    grads = {}
    dsum = relu_backward(dy, cache["last"])
    d = dsum
    for layer, relu in reversed(cache["caches"]):
        if relu is not None:
            d = relu_backward(d, relu)
        d = conv_bn_backward(d, layer, grads)
    side = dsum if cache["side"] is None else conv_bn_backward(dsum, cache["side"], grads)
    return d + side, grads


def basic_block_forward(x, params, stride=1, training=True):
    return residual_forward(x, params, training, stride, [dict(stride=stride, padding=1), dict(padding=1)])


def basic_block_backward(dy, cache):
    return residual_backward(dy, cache)


def bottleneck_block_forward(x, params, stride=1, training=True):
    return residual_forward(x, params, training, stride, [dict(), dict(stride=stride, padding=1), dict()])


def bottleneck_block_backward(dy, cache):
    return residual_backward(dy, cache)


def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    v = momentum * velocity + (grad + weight_decay * param)
    return param - lr * v, v


def part_of(params, prefix):
    return {k[len(prefix):]: v for k, v in params.items() if k.startswith(prefix)}


def one_pass(images, labels, params):
    h, stem = conv_bn(images, params, "stem.conv", "stem.bn", True, padding=1)
    h, relu = relu_forward(h)
    h, block1 = basic_block_forward(h, part_of(params, "block1."))
    h, block2 = basic_block_forward(h, part_of(params, "block2."), stride=2)
    h, pool = global_avg_pool_forward(h)
    h, head = linear_forward(h, params["head.weight"], params["head.bias"])
    loss, d = softmax_cross_entropy(h, labels)
    grads = {}
    d, grads["head.weight"], grads["head.bias"] = linear_backward(d, head)
    d = global_avg_pool_backward(d, pool)
    for prefix, cache in (("block2.", block2), ("block1.", block1)):
        d, inner = basic_block_backward(d, cache)
        grads.update({prefix + k: v for k, v in inner.items()})
    conv_bn_backward(relu_backward(d, relu), stem, grads)
    return loss, grads


def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params = {k: v.copy() for k, v in params.items()}
    velocity = {}
    losses = []
    for _ in range(steps):
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        for k, g in grads.items():
            params[k], velocity[k] = sgd_momentum_step(params[k], g, velocity.get(k, np.zeros_like(g)), lr, momentum)
    return np.array(losses), params
