"""Mistakes in the backward pass of a convolution; the forward pass is right."""


def unpack(cache):
    return [cache[k] for k in ("x", "weight", "stride", "padding", "dilation", "groups")]


def right_dweight(dy, cache, **changes):
    x, weight, s, p, d, g = unpack({**cache, **changes})
    v = windows(x, *weight.shape[2:], s, p, d)[:, :, :dy.shape[2], :dy.shape[3]]
    dws = [np.tensordot(b, a, axes=((0, 2, 3), (0, 2, 3))) for a, b in zip(np.split(v, g, 1), np.split(dy, g, 1))]
    return np.concatenate(dws)


def right_dcols(dy, weight, groups):
    """(N, C, kh, kw, oh, ow)"""
    parts = [np.einsum("nopq,ocij->ncijpq", d, w) for d, w in zip(np.split(dy, groups, 1), np.split(weight, groups))]
    return np.concatenate(parts, axis=1)


def spread(dcols, cache, step=None, gap=None):
    """On the padded image"""
    x, _, s, p, d, _ = unpack(cache)
    step, gap = step or s, gap or d
    n, c, h, w = x.shape
    oh, ow = dcols.shape[4:]
    out = np.zeros((n, c, h + 2 * p, w + 2 * p))
    for i in range(dcols.shape[2]):
        for j in range(dcols.shape[3]):
            out[:, :, i * gap:, j * gap:][:, :, :step * (oh - 1) + 1:step, :step * (ow - 1) + 1:step] += dcols[:, :, i, j]
    return out


def inner(big, cache):
    p, (h, w) = cache["padding"], cache["x"].shape[2:]
    return big[:, :, p:p + h, p:p + w]


def right_dx(dy, cache, weight=None):
    weight = cache["weight"] if weight is None else weight
    return inner(spread(right_dcols(dy, weight, cache["groups"]), cache), cache)


def right_dbias(dy, cache):
    return None if cache["bias"] is None else dy.sum(axis=(0, 2, 3))


@wrong("conv-backward-dbias-averaged", "conv2d_backward", fails="dbias")
def conv2d_backward(dy, cache):
    dbias = None
    if cache["bias"] is not None:
        dbias = np.zeros(dy.shape[1])
        for image in dy:
            dbias += image.sum(axis=(1, 2)) / len(dy)
    return right_dx(dy, cache), right_dweight(dy, cache), dbias


@wrong("conv-backward-dbias-mean", "conv2d_backward", fails="dbias")
def conv2d_backward(dy, cache):
    dbias = None if cache["bias"] is None else np.array([np.average(dy[:, o]) for o in range(dy.shape[1])])
    return right_dx(dy, cache), right_dweight(dy, cache), dbias


@wrong("conv-backward-dbias-per-image", "conv2d_backward", fails="dbias")
def conv2d_backward(dy, cache):
    dbias = None if cache["bias"] is None else dy.reshape(*dy.shape[:2], -1).sum(-1)
    return right_dx(dy, cache), right_dweight(dy, cache), dbias


@wrong("conv-backward-dweight-averaged", "conv2d_backward", fails="dweight")
def conv2d_backward(dy, cache):
    per_image = [
        right_dweight(dy[n:n + 1], {**cache, "x": cache["x"][n:n + 1]}) for n in range(len(dy))
    ]
    return right_dx(dy, cache), np.mean(per_image, axis=0), right_dbias(dy, cache)


@wrong("conv-backward-dweight-last-image", "conv2d_backward", fails="dweight")
def conv2d_backward(dy, cache):
    for n in range(len(dy)):
        dweight = right_dweight(dy[n:n + 1], {**cache, "x": cache["x"][n:n + 1]})
    return right_dx(dy, cache), dweight, right_dbias(dy, cache)


@wrong("conv-backward-dweight-flipped", "conv2d_backward", fails="dweight")
def conv2d_backward(dy, cache):
    dweight = np.flip(right_dweight(dy, cache), (2, 3))
    return right_dx(dy, cache), dweight, right_dbias(dy, cache)


@wrong("conv-backward-dweight-order", "conv2d_backward", fails="dweight")
def conv2d_backward(dy, cache):
    x, weight, s, p, d, g = unpack(cache)
    n, o = dy.shape[:2]
    cols = im2col(x, weight.shape[2:], s, p, d).reshape(n, g, weight[0].size, -1)
    rows = np.einsum("ngot,ngkt->gok", dy.reshape(n, g, o // g, -1), cols).reshape(o, -1)
    dweight = rows.reshape(o, *weight.shape[2:], weight.shape[1]).transpose(0, 3, 1, 2)
    return right_dx(dy, cache), dweight, right_dbias(dy, cache)


@wrong("conv-backward-dweight-stride-ignored", "conv2d_backward", fails="dweight")
def conv2d_backward(dy, cache):
    return right_dx(dy, cache), right_dweight(dy, cache, stride=1), right_dbias(dy, cache)


@wrong("conv-backward-dweight-padding-ignored", "conv2d_backward", fails="dweight")
def conv2d_backward(dy, cache):
    p = cache["padding"]
    shifted = np.pad(cache["x"], ((0, 0), (0, 0), (0, 2 * p), (0, 2 * p)))
    return right_dx(dy, cache), right_dweight(dy, cache, x=shifted, padding=0), right_dbias(dy, cache)


@wrong("conv-backward-dx-kernel-flipped", "conv2d_backward", fails="dx")
def conv2d_backward(dy, cache):
    dx = right_dx(dy, cache, cache["weight"][:, :, ::-1, ::-1])
    return dx, right_dweight(dy, cache), right_dbias(dy, cache)


@wrong("conv-backward-dx-overlaps-assigned", "conv2d_backward", fails="dx")
def conv2d_backward(dy, cache):
    x, weight, s, p, d, g = unpack(cache)
    dcols = right_dcols(dy, weight, g)
    dxp = np.zeros((*x.shape[:2], x.shape[2] + 2 * p, x.shape[3] + 2 * p))
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            rows = np.arange(dy.shape[2]) * s + i * d
            columns = np.arange(dy.shape[3]) * s + j * d
            dxp[:, :, rows[:, None], columns] = dcols[:, :, i, j]
    return inner(dxp, cache), right_dweight(dy, cache), right_dbias(dy, cache)


@wrong("conv-backward-dx-padding-cut-at-end", "conv2d_backward", fails="dx")
def conv2d_backward(dy, cache):
    big = spread(right_dcols(dy, cache["weight"], cache["groups"]), cache)
    h, w = cache["x"].shape[2:]
    return big[..., :h, :w], right_dweight(dy, cache), right_dbias(dy, cache)


@wrong("conv-backward-dx-padding-kept", "conv2d_backward", fails="dx")
def conv2d_backward(dy, cache):
    big = spread(right_dcols(dy, cache["weight"], cache["groups"]), cache)
    return big, right_dweight(dy, cache), right_dbias(dy, cache)


@wrong("conv-backward-dx-stride-ignored", "conv2d_backward", fails="dx")
def conv2d_backward(dy, cache):
    big = spread(right_dcols(dy, cache["weight"], cache["groups"]), cache, step=1)
    return inner(big, cache), right_dweight(dy, cache), right_dbias(dy, cache)


@wrong("conv-backward-dx-dilation-ignored", "conv2d_backward", fails="dx")
def conv2d_backward(dy, cache):
    big = spread(right_dcols(dy, cache["weight"], cache["groups"]), cache, gap=1)
    return inner(big, cache), right_dweight(dy, cache), right_dbias(dy, cache)


@wrong("conv-backward-dx-last-filter", "conv2d_backward", fails="dx")
def conv2d_backward(dy, cache):
    x, weight, s, p, d, g = unpack(cache)
    per = len(weight) // g
    dcols = np.zeros((len(x), x.shape[1], *weight.shape[2:], *dy.shape[2:]))
    for o in range(len(weight)):
        first = o // per * weight.shape[1]
        dcols[:, first:first + weight.shape[1]] = np.einsum("npq,cij->ncijpq", dy[:, o], weight[o])
    return inner(spread(dcols, cache), cache), right_dweight(dy, cache), right_dbias(dy, cache)


@wrong("conv-backward-groups-first-block", "conv2d_backward", fails=("dx", "dweight"))
def conv2d_backward(dy, cache):
    x, weight, s, p, d, g = unpack(cache)
    cg = weight.shape[1]
    one = {**cache, "x": x[:, :cg], "groups": 1}
    dx = np.zeros(x.shape)
    dx[:, :cg] = right_dx(dy, one)
    return dx, right_dweight(dy, one), right_dbias(dy, cache)


@wrong("conv-backward-groups-interleaved", "conv2d_backward", fails=("dx", "dweight"))
def conv2d_backward(dy, cache):
    x, weight, s, p, d, g = unpack(cache)
    dx, dws, per = np.zeros(x.shape), [], len(weight) // g
    for k in range(g):
        own = dy[:, k * per:(k + 1) * per]
        part = {**cache, "x": x[:, k::g], "weight": weight[k * per:(k + 1) * per], "groups": 1}
        dx[:, k::g] = right_dx(own, part)
        dws.append(right_dweight(own, part))
    return dx, np.concatenate(dws), right_dbias(dy, cache)
