"""Style: no columns anywhere; every kernel offset is a shifted slice of the padded image, multiplied and added.

Solves: all
"""
import numpy as np

PER_CHANNEL = (0, 2, 3)


def offsets(kh, kw, oh, ow, stride=1, dilation=1):
    for i in range(kh):
        for j in range(kw):
            yield i, j, (
                ...,
                slice(i * dilation, i * dilation + (oh - 1) * stride + 1, stride),
                slice(j * dilation, j * dilation + (ow - 1) * stride + 1, stride),
            )


def padded(x, p, value=0.0):
    N, C, H, W = x.shape
    out = np.full((N, C, H + 2 * p, W + 2 * p), value, dtype=x.dtype)
    out[:, :, p:p + H, p:p + W] = x
    return out


def unpadded(x, p):
    return x[:, :, p:x.shape[2] - p, p:x.shape[3] - p]


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    kh, kw = kernel_size
    xp = padded(x, padding)
    oh = (xp.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    ow = (xp.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    pieces = [xp[where] for _, _, where in offsets(kh, kw, oh, ow, stride, dilation)]
    return np.stack(pieces, axis=2).reshape(x.shape[0], -1, oh * ow)


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    N, C, H, W = image_shape
    kh, kw = kernel_size
    out = np.zeros((N, C, H + 2 * padding, W + 2 * padding), dtype=cols.dtype)
    oh = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    cols = cols.reshape(N, C, kh * kw, oh, ow)
    for i, j, where in offsets(kh, kw, oh, ow, stride, dilation):
        out[where] += cols[:, :, i * kw + j]
    return unpadded(out, padding)


def mix(weight_ij, x, groups):
    """A 1x1 convolution with groups: (O, C/g) and (N, C, h, w) -> (N, O, h, w)"""
    N, C, h, w = x.shape
    O = len(weight_ij)
    out = weight_ij.reshape(groups, O // groups, -1) @ x.reshape(N, groups, C // groups, h * w)
    return out.reshape(N, O, h, w)


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    O, _, kh, kw = weight.shape
    xp = padded(x, padding)
    oh = (xp.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    ow = (xp.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((x.shape[0], O, oh, ow), dtype=x.dtype)
    if bias is not None:
        y += bias[:, None, None]
    for i, j, where in offsets(kh, kw, oh, ow, stride, dilation):
        y += mix(weight[:, :, i, j], xp[where], groups)
    return y, (xp, weight, bias is not None, stride, padding, dilation, groups)


def conv2d_backward(dy, cache):
    xp, weight, with_bias, stride, padding, dilation, groups = cache
    N, O, oh, ow = dy.shape
    _, Cg, kh, kw = weight.shape
    dxp, dweight = np.zeros_like(xp), np.zeros_like(weight)
    dyg = dy.reshape(N, groups, O // groups, oh * ow)
    for i, j, where in offsets(kh, kw, oh, ow, stride, dilation):
        wg = weight[:, :, i, j].reshape(groups, O // groups, Cg)
        dxp[where] += (wg.swapaxes(1, 2) @ dyg).reshape(N, groups * Cg, oh, ow)
        xg = xp[where].reshape(N, groups, Cg, oh * ow)
        dweight[:, :, i, j] = (dyg @ xg.swapaxes(2, 3)).sum(0).reshape(O, Cg)
    return unpadded(dxp, padding), dweight, dy.sum(PER_CHANNEL) if with_bias else None


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(PER_CHANNEL), x.var(PER_CHANNEL)
        unbiased = x.var(PER_CHANNEL, ddof=1)
        running_mean = momentum * mean + (1 - momentum) * running_mean
        running_var = momentum * unbiased + (1 - momentum) * running_var
    scale = weight * (var + eps) ** -0.5
    shift = bias - mean * scale
    y = x * scale[:, None, None] + shift[:, None, None]
    return y, (x, mean, var + eps, weight, training), running_mean, running_var


def batchnorm2d_backward(dy, cache):
    x, mean, var_eps, weight, training = cache
    centred = x - mean[:, None, None]
    dweight = (dy * centred).sum(PER_CHANNEL) * var_eps ** -0.5
    dbias = dy.sum(PER_CHANNEL)
    dx = dy * (weight * var_eps ** -0.5)[:, None, None]
    if training:
        m = x.size // x.shape[1]
        pull = weight * var_eps ** -0.5 * dbias / m
        stretch = weight * dweight / (m * var_eps)
        dx = dx - pull[:, None, None] - centred * stretch[:, None, None]
    return dx, dweight, dbias


def relu_forward(x):
    y = x.copy()
    y[y < 0] = 0
    return y, y > 0


def relu_backward(dy, cache):
    dx = dy.copy()
    dx[~cache] = 0
    return dx


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    xp = padded(x, padding, -np.inf)
    oh = (xp.shape[2] - kernel_size) // stride + 1
    ow = (xp.shape[3] - kernel_size) // stride + 1
    y = np.full((*x.shape[:2], oh, ow), -np.inf, dtype=x.dtype)
    for _, _, where in offsets(kernel_size, kernel_size, oh, ow, stride):
        np.maximum(y, xp[where], out=y)
    return y, (xp, y.copy(), kernel_size, stride, padding)


def max_pool2d_backward(dy, cache):
    xp, y, k, stride, padding = cache
    dxp = np.zeros(xp.shape, dtype=dy.dtype)
    open_ = np.ones(dy.shape, dtype=bool)
    for _, _, where in offsets(k, k, *dy.shape[2:], stride):
        won = open_ & (xp[where] == y)  # the first of equals, and only that one
        dxp[where] += won * dy
        open_ &= ~won
    return unpadded(dxp, padding)


def global_avg_pool_forward(x):
    return np.average(x, axis=(2, 3)), x.shape


def global_avg_pool_backward(dy, cache):
    return np.full(cache, 1 / (cache[2] * cache[3])) * dy.reshape(*dy.shape, 1, 1)


def linear_forward(x, weight, bias):
    return bias + x.dot(weight.T), (x, weight)


def linear_backward(dy, cache):
    return dy.dot(cache[1]), dy.T.dot(cache[0]), dy.sum(0)


def softmax_cross_entropy(logits, labels):
    z = logits - np.max(logits, axis=-1, keepdims=True)
    e = np.exp(z)
    total = e.sum(-1, keepdims=True)
    rows = np.arange(logits.shape[0])
    d = e / total
    d[rows, labels] -= 1.0
    return float((np.log(total[:, 0]) - z[rows, labels]).mean()), d / logits.shape[0]


class Names:
    """The values of one batch normalisation among the parameters"""

    def __init__(self, params, prefix):
        self.args = [params[prefix + key] for key in (".weight", ".bias", ".running_mean", ".running_var")]


def block_forward(x, params, stride, training, kernel_plan):
    tape = []
    out = x
    for k, (s, p) in enumerate(kernel_plan, start=1):
        out, c = conv2d_forward(out, params["conv%d.weight" % k], None, s, p)
        out, b, _, _ = batchnorm2d_forward(out, *Names(params, "bn%d" % k).args, training)
        tape.append(("conv%d" % k, c, "bn%d" % k, b))
        if k < len(kernel_plan):
            out, r = relu_forward(out)
            tape.append(r)
    short, side = x, []
    if "shortcut.conv.weight" in params:
        short, c = conv2d_forward(x, params["shortcut.conv.weight"], None, stride)
        short, b, _, _ = batchnorm2d_forward(short, *Names(params, "shortcut.bn").args, training)
        side.append(("shortcut.conv", c, "shortcut.bn", b))
    out, r = relu_forward(out + short)
    return out, (tape, side, r)


def unwind(d, tape, grads):
    for entry in tape[::-1]:
        if isinstance(entry, tuple):
            conv, c, bn, b = entry
            d, grads[bn + ".weight"], grads[bn + ".bias"] = batchnorm2d_backward(d, b)
            d, grads[conv + ".weight"], _ = conv2d_backward(d, c)
        else:
            d = relu_backward(d, entry)
    return d


def block_backward(dy, cache):
    tape, side, r = cache
    grads = {}
    d = relu_backward(dy, r)
    return unwind(d, tape, grads) + unwind(d, side, grads), grads


def basic_block_forward(x, params, stride=1, training=True):
    return block_forward(x, params, stride, training, [(stride, 1), (1, 1)])


def bottleneck_block_forward(x, params, stride=1, training=True):
    return block_forward(x, params, stride, training, [(1, 0), (stride, 1), (1, 0)])


basic_block_backward = bottleneck_block_backward = block_backward


def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    velocity = velocity * momentum
    velocity += grad
    velocity += weight_decay * param
    return param - velocity * lr, velocity


def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params = params.copy()
    trained = [k for k in params if not k.endswith(("running_mean", "running_var"))]
    velocity = {k: 0 * params[k] for k in trained}
    losses = np.zeros(steps)
    for t in range(steps):
        inner = {b: {k.split(".", 1)[1]: v for k, v in params.items() if k.split(".")[0] == b} for b in ("block1", "block2")}
        x, c0 = conv2d_forward(images, params["stem.conv.weight"], padding=1)
        x, b0, _, _ = batchnorm2d_forward(x, *Names(params, "stem.bn").args, True)
        x, r0 = relu_forward(x)
        x, c1 = basic_block_forward(x, inner["block1"], 1)
        x, c2 = basic_block_forward(x, inner["block2"], 2)
        x, gp = global_avg_pool_forward(x)
        x, fc = linear_forward(x, params["head.weight"], params["head.bias"])
        losses[t], d = softmax_cross_entropy(x, labels)
        g = {}
        d, g["head.weight"], g["head.bias"] = linear_backward(d, fc)
        d = global_avg_pool_backward(d, gp)
        d, g2 = basic_block_backward(d, c2)
        d, g1 = basic_block_backward(d, c1)
        g.update(("block2." + k, v) for k, v in g2.items())
        g.update(("block1." + k, v) for k, v in g1.items())
        d, g["stem.bn.weight"], g["stem.bn.bias"] = batchnorm2d_backward(relu_backward(d, r0), b0)
        g["stem.conv.weight"] = conv2d_backward(d, c0)[1]
        for k in trained:
            params[k], velocity[k] = sgd_momentum_step(params[k], g[k], velocity[k], lr, momentum)
    return losses, params
