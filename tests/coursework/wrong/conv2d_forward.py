"""Mistakes in the forward pass of a convolution."""


def cross_correlate(v, weight, groups):
    """v (N, C, oh, ow, kh, kw), from ``windows``"""
    outs = []
    for xs, ws in zip(np.split(v, groups, axis=1), np.split(weight, groups)):
        outs.append(np.tensordot(xs, ws, axes=((1, 4, 5), (1, 2, 3))))
    return np.moveaxis(np.concatenate(outs, axis=-1), -1, 1)


def plus(y, bias):
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


def memory(x, weight, bias, stride, padding, dilation, groups):
    return {
        "x": x, "weight": weight, "bias": bias, "stride": stride, "padding": padding, "dilation": dilation,
        "groups": groups,
    }


@wrong("conv-kernel-flipped", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    turned = np.rot90(weight, 2, axes=(2, 3))
    y = cross_correlate(windows(x, *weight.shape[2:], stride, padding, dilation), turned, groups)
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-weight-order", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, o = len(x), len(weight)
    cols = im2col(x, weight.shape[2:], stride, padding, dilation).reshape(n, groups, weight[0].size, -1)
    filters = weight.transpose(0, 2, 3, 1).reshape(groups, o // groups, -1)
    oh = (x.shape[2] + 2 * padding - dilation * (weight.shape[2] - 1) - 1) // stride + 1
    y = (filters @ cols).reshape(n, o, oh, -1)
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-padding-forgotten", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, c, h, w = x.shape
    o, cg, kh, kw = weight.shape
    oh, ow = (h - dilation * (kh - 1) - 1) // stride + 1, (w - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((n, o, oh, ow))
    for k in range(o):
        g = k // (o // groups)
        for i in range(kh):
            for j in range(kw):
                part = x[:, g * cg:(g + 1) * cg, i * dilation:, j * dilation:][:, :, ::stride, ::stride][:, :, :oh, :ow]
                y[:, k] += np.einsum("nchw,c->nhw", part, weight[k, :, i, j])
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-padding-after-only", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    big = np.pad(x, ((0, 0), (0, 0), (0, 2 * padding), (0, 2 * padding)))
    y = cross_correlate(windows(big, *weight.shape[2:], stride, 0, dilation), weight, groups)
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-padding-counted-once", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, c, h, w = x.shape
    o, cg, kh, kw = weight.shape
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    oh = (h + padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + padding - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((n, o, oh, ow))
    for p in range(oh):
        for q in range(ow):
            r, s = p * stride, q * stride
            patch = xp[:, :, r:r + dilation * (kh - 1) + 1:dilation, s:s + dilation * (kw - 1) + 1:dilation]
            for k in range(o):
                first = k // (o // groups) * cg
                y[:, k, p, q] = (patch[:, first:first + cg] * weight[k]).sum(axis=(1, 2, 3))
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-stride-ignored", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    y = cross_correlate(windows(x, *weight.shape[2:], 1, padding, dilation), weight, groups)
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-dilation-ignored", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    v = sliding_window_view(xp, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return plus(cross_correlate(v, weight, groups), bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-size-rounded-up", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, c, h, w = x.shape
    kh, kw = weight.shape[2:]
    oh = int(np.ceil((h + 2 * padding - dilation * (kh - 1) - 1) / stride)) + 1
    ow = int(np.ceil((w + 2 * padding - dilation * (kw - 1) - 1) / stride)) + 1
    # enough zeros for the windows that stick out
    big = np.zeros((n, c, stride * (oh - 1) + dilation * (kh - 1) + 1, stride * (ow - 1) + dilation * (kw - 1) + 1))
    big[:, :, padding:padding + h, padding:padding + w] = x[:, :, :big.shape[2] - padding, :big.shape[3] - padding]
    y = cross_correlate(windows(big, kh, kw, stride, 0, dilation), weight, groups)
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-groups-first-block", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    v = windows(x, *weight.shape[2:], stride, padding, dilation)
    y = np.einsum("ncpqij,ocij->nopq", v[:, :weight.shape[1]], weight)
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-groups-inputs-interleaved", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    v = windows(x, *weight.shape[2:], stride, padding, dilation)
    per = len(weight) // groups
    ys = [
        np.einsum("ncpqij,ocij->nopq", v[:, g::groups], weight[g * per:(g + 1) * per]) for g in range(groups)
    ]
    return plus(np.concatenate(ys, axis=1), bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-groups-outputs-interleaved", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    v = windows(x, *weight.shape[2:], stride, padding, dilation)
    cg = weight.shape[1]
    y = np.empty((x.shape[0], weight.shape[0], *v.shape[2:4]))
    for o in range(len(weight)):
        g = o % groups
        y[:, o] = np.einsum("ncpqij,cij->npq", v[:, g * cg:(g + 1) * cg], weight[o])
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-bias-forgotten", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    y = cross_correlate(windows(x, *weight.shape[2:], stride, padding, dilation), weight, groups)
    return y, memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-bias-per-channel", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    v = windows(x, *weight.shape[2:], stride, padding, dilation)
    y = np.zeros((x.shape[0], weight.shape[0], *v.shape[2:4]))
    for o, w in enumerate(weight):
        for c in range(len(w)):
            channel = o // (len(weight) // groups) * len(w) + c
            y[:, o] += np.tensordot(v[:, channel], w[c], 2)
            if bias is not None:
                y[:, o] += bias[o]
    return y, memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-reshape-mixes-batch", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    y = cross_correlate(windows(x, *weight.shape[2:], stride, padding, dilation), weight, groups)
    n, o, oh, ow = y.shape
    matrix = y.swapaxes(0, 1).reshape(o, -1)  # what one big product gives
    if bias is not None:
        matrix = matrix + bias[:, None]
    return matrix.reshape(n, o, oh, ow), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-positions-transposed", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    y = cross_correlate(windows(x, *weight.shape[2:], stride, padding, dilation), weight, groups)
    return plus(y, bias).swapaxes(2, 3), memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-channels-last", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    y = cross_correlate(windows(x, *weight.shape[2:], stride, padding, dilation), weight, groups)
    y = np.moveaxis(y, 1, -1)
    return y if bias is None else y + bias, memory(x, weight, bias, stride, padding, dilation, groups)


@wrong("conv-averaged", "conv2d_forward", fails="y")
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    v = windows(x, *weight.shape[2:], stride, padding, dilation)
    cg = weight.shape[1]
    y = np.empty((x.shape[0], weight.shape[0], *v.shape[2:4]))
    for o in range(len(weight)):
        first = o // (len(weight) // groups) * cg
        seen = v[:, first:first + cg].transpose(0, 2, 3, 1, 4, 5)
        y[:, o] = (seen * weight[o]).mean(axis=(3, 4, 5))
    return plus(y, bias), memory(x, weight, bias, stride, padding, dilation, groups)
