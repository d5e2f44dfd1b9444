"""Style: the backward pass of a convolution as two more convolutions: dx with the turned kernel over the gradient spread
out by the stride, dweight as the correlation of the image with that gradient.

Solves: conv2d_forward, conv2d_backward
"""
import numpy as np


def correlate(x, w, dilation=1):
    """The plain case: stride 1, no padding, no groups."""
    kh, kw = w.shape[2:]
    oh = x.shape[2] - dilation * (kh - 1)
    ow = x.shape[3] - dilation * (kw - 1)
    y = 0
    for i in range(kh):
        for j in range(kw):
            part = x[:, :, i * dilation:i * dilation + oh, j * dilation:j * dilation + ow]
            y = y + np.einsum("nchw,oc->nohw", part, w[:, :, i, j])
    return y


def pad4(x, top, bottom, left, right):
    return np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    xp = pad4(x, padding, padding, padding, padding)
    xs, ws = np.array_split(xp, groups, axis=1), np.array_split(weight, groups)
    dense = np.concatenate([correlate(a, b, dilation) for a, b in zip(xs, ws)], axis=1)
    y = dense[:, :, ::stride, ::stride]
    if bias is not None:
        y = y + bias[:, np.newaxis, np.newaxis]
    return y, (xp, weight, bias, stride, padding, dilation, groups)


def conv2d_backward(dy, cache):
    xp, weight, bias, stride, padding, dilation, groups = cache
    _, _, H, W = xp.shape
    kh, kw = weight.shape[2:]
    eh, ew = dilation * (kh - 1), dilation * (kw - 1)
    spread = np.zeros(dy.shape[:2] + (H - eh, W - ew), dtype=dy.dtype)  # dy of the dense convolution
    spread[:, :, ::stride, ::stride] = dy
    dxs, dws = [], []
    for x, w, d in zip(*(np.array_split(a, groups, axis=n) for a, n in ((xp, 1), (weight, 0), (spread, 1)))):
        turned = w[:, :, ::-1, ::-1].swapaxes(0, 1)
        dxs.append(correlate(pad4(d, eh, eh, ew, ew), turned, dilation))
        # correlate x with d, channels and batch exchanged; positions that are multiples of the dilation
        full = correlate(x.swapaxes(0, 1), d.swapaxes(0, 1))  # (C/g, O/g, eh + 1, ew + 1)
        dws.append(full[:, :, ::dilation, ::dilation].swapaxes(0, 1))
    dx = np.concatenate(dxs, axis=1)[:, :, padding:H - padding, padding:W - padding]
    return dx, np.concatenate(dws), None if bias is None else np.einsum("nohw->o", dy)
