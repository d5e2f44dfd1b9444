"""Style: each block is one long flat function with its mathematics written out; nothing of earlier tasks is called.

Solves: basic_block_forward, basic_block_backward, bottleneck_block_forward, bottleneck_block_backward
"""
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def basic_block_forward(x, params, stride=1, training=True):
    p = params
    eps = 1e-5
    A = (0, 2, 3)
    # conv1
    xp = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    w1 = sliding_window_view(xp, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    a = np.einsum("nchwij,ocij->nohw", w1, p["conv1.weight"], optimize=True)
    # bn1
    m1 = a.mean(A) if training else p["bn1.running_mean"]
    v1 = a.var(A) if training else p["bn1.running_var"]
    s1 = np.sqrt(v1 + eps)[None, :, None, None]
    h1 = (a - m1[None, :, None, None]) / s1
    b = h1 * p["bn1.weight"][None, :, None, None] + p["bn1.bias"][None, :, None, None]
    # relu
    c = np.maximum(b, 0)
    # conv2
    cp = np.pad(c, ((0, 0), (0, 0), (1, 1), (1, 1)))
    w2 = sliding_window_view(cp, (3, 3), axis=(2, 3))
    d = np.einsum("nchwij,ocij->nohw", w2, p["conv2.weight"], optimize=True)
    # bn2
    m2 = d.mean(A) if training else p["bn2.running_mean"]
    v2 = d.var(A) if training else p["bn2.running_var"]
    s2 = np.sqrt(v2 + eps)[None, :, None, None]
    h2 = (d - m2[None, :, None, None]) / s2
    e = h2 * p["bn2.weight"][None, :, None, None] + p["bn2.bias"][None, :, None, None]
    # shortcut
    xs = hs = ss = None
    if "shortcut.conv.weight" in p:
        xs = x[:, :, ::stride, ::stride]
        f = np.einsum("nchw,oc->nohw", xs, p["shortcut.conv.weight"][:, :, 0, 0])
        ms = f.mean(A) if training else p["shortcut.bn.running_mean"]
        vs = f.var(A) if training else p["shortcut.bn.running_var"]
        ss = np.sqrt(vs + eps)[None, :, None, None]
        hs = (f - ms[None, :, None, None]) / ss
        r = hs * p["shortcut.bn.weight"][None, :, None, None] + p["shortcut.bn.bias"][None, :, None, None]
    else:
        r = x
    y = np.maximum(e + r, 0)
    return y, (x, p, stride, training, w1, s1, h1, b, w2, s2, h2, xs, ss, hs, y)


def basic_block_backward(dy, cache):
    x, p, stride, training, w1, s1, h1, b, w2, s2, h2, xs, ss, hs, y = cache
    A = (0, 2, 3)
    g = {}
    d = dy * (y > 0)
    # bn2
    g["bn2.weight"] = (d * h2).sum(A)
    g["bn2.bias"] = d.sum(A)
    dd = d * p["bn2.weight"][None, :, None, None]
    if training:
        dd = dd - dd.mean(A, keepdims=True) - h2 * (dd * h2).mean(A, keepdims=True)
    dd = dd / s2
    # conv2
    g["conv2.weight"] = np.einsum("nohw,nchwij->ocij", dd, w2, optimize=True)
    dp = np.pad(dd, ((0, 0), (0, 0), (1, 1), (1, 1)))
    turned = p["conv2.weight"][:, :, ::-1, ::-1]
    dc = np.einsum("nohwij,ocij->nchw", sliding_window_view(dp, (3, 3), axis=(2, 3)), turned, optimize=True)
    # relu
    db = dc * (b > 0)
    # bn1
    g["bn1.weight"] = (db * h1).sum(A)
    g["bn1.bias"] = db.sum(A)
    da = db * p["bn1.weight"][None, :, None, None]
    if training:
        da = da - da.mean(A, keepdims=True) - h1 * (da * h1).mean(A, keepdims=True)
    da = da / s1
    # conv1
    g["conv1.weight"] = np.einsum("nohw,nchwij->ocij", da, w1, optimize=True)
    N, C, H, W = x.shape
    dxp = np.zeros((N, C, H + 2, W + 2))
    for i in range(3):
        for j in range(3):
            dxp[:, :, i:i + stride * da.shape[2]:stride, j:j + stride * da.shape[3]:stride] += np.einsum(
                "nohw,oc->nchw", da, p["conv1.weight"][:, :, i, j])
    dx = dxp[:, :, 1:-1, 1:-1]
    # shortcut
    if xs is None:
        return dx + d, g
    g["shortcut.bn.weight"] = (d * hs).sum(A)
    g["shortcut.bn.bias"] = d.sum(A)
    ds = d * p["shortcut.bn.weight"][None, :, None, None]
    if training:
        ds = ds - ds.mean(A, keepdims=True) - hs * (ds * hs).mean(A, keepdims=True)
    ds = ds / ss
    g["shortcut.conv.weight"] = np.einsum("nohw,nchw->oc", ds, xs)[:, :, None, None]
    dx[:, :, ::stride, ::stride] += np.einsum("nohw,oc->nchw", ds, p["shortcut.conv.weight"][:, :, 0, 0])
    return dx, g


def bottleneck_block_forward(x, params, stride=1, training=True):
    p = params
    eps = 1e-5
    A = (0, 2, 3)
    k = {}
    a = np.einsum("nchw,oc->nohw", x, p["conv1.weight"][..., 0, 0])
    k["m1"], k["v1"] = (a.mean(A), a.var(A)) if training else (p["bn1.running_mean"], p["bn1.running_var"])
    k["h1"] = (a - k["m1"][:, None, None]) / np.sqrt(k["v1"] + eps)[:, None, None]
    b = k["b"] = k["h1"] * p["bn1.weight"][:, None, None] + p["bn1.bias"][:, None, None]
    c = k["c"] = np.where(b > 0, b, 0)
    cp = np.pad(c, ((0, 0), (0, 0), (1, 1), (1, 1)))
    k["w"] = sliding_window_view(cp, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    d = np.einsum("nchwij,ocij->nohw", k["w"], p["conv2.weight"])
    k["m2"], k["v2"] = (d.mean(A), d.var(A)) if training else (p["bn2.running_mean"], p["bn2.running_var"])
    k["h2"] = (d - k["m2"][:, None, None]) / np.sqrt(k["v2"] + eps)[:, None, None]
    e = k["e"] = k["h2"] * p["bn2.weight"][:, None, None] + p["bn2.bias"][:, None, None]
    f = k["f"] = np.where(e > 0, e, 0)
    g = np.einsum("nchw,oc->nohw", f, p["conv3.weight"][..., 0, 0])
    k["m3"], k["v3"] = (g.mean(A), g.var(A)) if training else (p["bn3.running_mean"], p["bn3.running_var"])
    k["h3"] = (g - k["m3"][:, None, None]) / np.sqrt(k["v3"] + eps)[:, None, None]
    z = k["h3"] * p["bn3.weight"][:, None, None] + p["bn3.bias"][:, None, None]
    if "shortcut.conv.weight" in p:
        t = np.einsum("nchw,oc->nohw", x[:, :, ::stride, ::stride], p["shortcut.conv.weight"][..., 0, 0])
        k["ms"], k["vs"] = (t.mean(A), t.var(A)) if training else (
            p["shortcut.bn.running_mean"], p["shortcut.bn.running_var"])
        k["hs"] = (t - k["ms"][:, None, None]) / np.sqrt(k["vs"] + eps)[:, None, None]
        z = z + k["hs"] * p["shortcut.bn.weight"][:, None, None] + p["shortcut.bn.bias"][:, None, None]
    else:
        z = z + x
    return np.where(z > 0, z, 0), (x, z, k, p, stride, training)


def bottleneck_block_backward(dy, cache):
    x, z, k, p, stride, training = cache
    eps = 1e-5
    A = (0, 2, 3)
    grads = dict()
    d = np.where(z > 0, dy, 0)
    m = d.size / d.shape[1]
    grads["bn3.weight"], grads["bn3.bias"] = (d * k["h3"]).sum(A), d.sum(A)
    dg = d
    if training:
        dg = d - grads["bn3.bias"][:, None, None] / m - k["h3"] * grads["bn3.weight"][:, None, None] / m
    dg = dg * (p["bn3.weight"] / np.sqrt(k["v3"] + eps))[:, None, None]
    grads["conv3.weight"] = np.einsum("nohw,nchw->oc", dg, k["f"])[..., None, None]
    de = np.einsum("nohw,oc->nchw", dg, p["conv3.weight"][..., 0, 0])
    de[k["e"] <= 0] = 0
    grads["bn2.weight"], grads["bn2.bias"] = (de * k["h2"]).sum(A), de.sum(A)
    dd = de
    if training:
        dd = de - grads["bn2.bias"][:, None, None] / m - k["h2"] * grads["bn2.weight"][:, None, None] / m
    dd = dd * (p["bn2.weight"] / np.sqrt(k["v2"] + eps))[:, None, None]
    grads["conv2.weight"] = np.einsum("nohw,nchwij->ocij", dd, k["w"])
    n, q, h, w = k["c"].shape
    dcp = np.zeros((n, q, h + 2, w + 2))
    for y0 in range(dd.shape[2]):
        for x0 in range(dd.shape[3]):
            dcp[:, :, y0 * stride:y0 * stride + 3, x0 * stride:x0 * stride + 3] += np.einsum(
                "no,ocij->ncij", dd[:, :, y0, x0], p["conv2.weight"])
    db = dcp[:, :, 1:-1, 1:-1] * (k["b"] > 0)
    m = db.size / db.shape[1]
    grads["bn1.weight"], grads["bn1.bias"] = (db * k["h1"]).sum(A), db.sum(A)
    da = db
    if training:
        da = db - grads["bn1.bias"][:, None, None] / m - k["h1"] * grads["bn1.weight"][:, None, None] / m
    da = da * (p["bn1.weight"] / np.sqrt(k["v1"] + eps))[:, None, None]
    grads["conv1.weight"] = np.einsum("nohw,nchw->oc", da, x)[..., None, None]
    dx = np.einsum("nohw,oc->nchw", da, p["conv1.weight"][..., 0, 0])
    if "hs" in k:
        m = d.size / d.shape[1]
        grads["shortcut.bn.weight"], grads["shortcut.bn.bias"] = (d * k["hs"]).sum(A), d.sum(A)
        dt = d
        if training:
            dt = d - grads["shortcut.bn.bias"][:, None, None] / m - k["hs"] * grads["shortcut.bn.weight"][:, None, None] / m
        dt = dt * (p["shortcut.bn.weight"] / np.sqrt(k["vs"] + eps))[:, None, None]
        grads["shortcut.conv.weight"] = np.einsum("nohw,nchw->oc", dt, x[:, :, ::stride, ::stride])[..., None, None]
        dx[:, :, ::stride, ::stride] += np.einsum("nohw,oc->nchw", dt, p["shortcut.conv.weight"][..., 0, 0])
    else:
        dx += d
    return dx, grads
