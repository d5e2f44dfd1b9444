"""Mistakes in taking patches apart and putting them together."""


@wrong("im2col-kernel-before-channel", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = x.shape
    kh, kw = kernel_size
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    rows = []
    for i in range(kh):
        for j in range(kw):
            a, b = i * dilation, j * dilation
            rows.append(x[:, :, a:a + oh * stride:stride, b:b + ow * stride:stride].reshape(n, c, -1))
    return np.concatenate(rows, axis=1)


@wrong("im2col-kernel-transposed", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    v = windows(x, *kernel_size, stride, padding, dilation)
    return np.einsum("ncpqij->ncjipq", v).reshape(v.shape[0], -1, v.shape[2] * v.shape[3])


@wrong("im2col-positions-transposed", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    v = windows(x, *kernel_size, stride, padding, dilation)
    n, c, oh, ow, kh, kw = v.shape
    out = np.empty((n, c * kh * kw, oh * ow))
    t = 0
    for q in range(ow):
        for p in range(oh):
            out[:, :, t] = v[:, :, p, q].reshape(n, -1)
            t += 1
    return out


@wrong("im2col-flipped", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    v = windows(x, *kernel_size, stride, padding, dilation)[..., ::-1, ::-1]  # so that conv is a convolution
    return v.transpose(0, 1, 4, 5, 2, 3).reshape(v.shape[0], -1, v.shape[2] * v.shape[3])


@wrong("im2col-padding-forgotten", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = x.shape
    kh, kw = kernel_size
    columns = []
    for top in range(0, h - dilation * (kh - 1), stride):
        for left in range(0, w - dilation * (kw - 1), stride):
            patch = x[:, :, top:top + dilation * (kh - 1) + 1:dilation, left:left + dilation * (kw - 1) + 1:dilation]
            columns.append(patch.reshape(n, -1))
    return np.stack(columns, axis=2)


@wrong("im2col-padding-after-only", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = x.shape
    big = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    big[:, :, :h, :w] = x
    v = windows(big, *kernel_size, stride, 0, dilation)
    return v.transpose(0, 1, 4, 5, 2, 3).reshape(n, -1, v.shape[2] * v.shape[3])


@wrong("im2col-padding-repeats-edge", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode="edge")
    v = windows(x, *kernel_size, stride, 0, dilation)
    return v.transpose(0, 1, 4, 5, 2, 3).reshape(x.shape[0], -1, v.shape[2] * v.shape[3])


@wrong("im2col-stride-ignored", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    kh, kw = kernel_size
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    oh, ow = x.shape[2] - dilation * (kh - 1), x.shape[3] - dilation * (kw - 1)
    parts = [
        x[:, :, i * dilation:i * dilation + oh, j * dilation:j * dilation + ow].reshape(*x.shape[:2], -1)
        for i in range(kh) for j in range(kw)
    ]
    return np.stack(parts, axis=2).reshape(len(x), -1, oh * ow)


@wrong("im2col-dilation-ignored", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    kh, kw = kernel_size
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    oh = (xp.shape[2] - kh) // stride + 1
    ow = (xp.shape[3] - kw) // stride + 1
    cols = np.zeros((x.shape[0], x.shape[1] * kh * kw, oh * ow))
    for p in range(oh):
        for q in range(ow):
            patch = xp[:, :, p * stride:p * stride + kh, q * stride:q * stride + kw]
            cols[:, :, p * ow + q] = patch.reshape(len(x), -1)
    return cols


@wrong("im2col-square-kernel", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    k = kernel_size[0]
    v = windows(x, k, k, stride, padding, dilation)
    return v.transpose(0, 1, 4, 5, 2, 3).reshape(x.shape[0], -1, v.shape[2] * v.shape[3])


@wrong("im2col-patches-as-rows", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    v = windows(x, *kernel_size, stride, padding, dilation)
    n, c, oh, ow, kh, kw = v.shape
    return v.transpose(0, 2, 3, 1, 4, 5).reshape(n, oh * ow, c * kh * kw)


@wrong("im2col-batch-in-columns", "im2col", fails="cols")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    v = windows(x, *kernel_size, stride, padding, dilation)
    n, c, oh, ow, kh, kw = v.shape
    return np.einsum("ncpqij->cijnpq", v).reshape(c * kh * kw, n * oh * ow)


def scatter(cols, shape, kernel_size, stride, padding, dilation, write):
    """Goes through all places of the kernel; ``write(target, values)`` does the rest"""
    n, c, h, w = shape
    kh, kw = kernel_size
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    parts = cols.reshape(n, c, kh, kw, oh, -1)
    out = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i in range(kh):
        for j in range(kw):
            view = out[:, :, i * dilation:, j * dilation:][:, :, ::stride, ::stride][:, :, :oh, :parts.shape[5]]
            write(view, parts[:, :, i, j])
    return out


def add(target, values):
    target += values


def assign(target, values):
    target[...] = values


@wrong("col2im-overlaps-assigned", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    out = scatter(cols, image_shape, kernel_size, stride, padding, dilation, assign)
    return out[:, :, padding:padding + image_shape[2], padding:padding + image_shape[3]]


@wrong("col2im-overlaps-averaged", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    total = scatter(cols, image_shape, kernel_size, stride, padding, dilation, add)
    count = scatter(np.ones_like(cols), image_shape, kernel_size, stride, padding, dilation, add)
    out = total / np.maximum(count, 1)
    return out[:, :, padding:padding + image_shape[2], padding:padding + image_shape[3]]


@wrong("col2im-padding-kept", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    return scatter(cols, image_shape, kernel_size, stride, padding, dilation, add)


@wrong("col2im-padding-cut-at-end", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = image_shape
    return scatter(cols, image_shape, kernel_size, stride, padding, dilation, add)[:, :, :h, :w]


@wrong("col2im-nothing-without-padding", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    out = scatter(cols, image_shape, kernel_size, stride, padding, dilation, add)
    return out[:, :, padding:-padding, padding:-padding]


@wrong("col2im-kernel-before-channel", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = image_shape
    kh, kw = kernel_size
    out = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    cols = cols.reshape(n, kh, kw, c, oh, ow)
    for p in range(oh):
        for q in range(ow):
            for i in range(kh):
                for j in range(kw):
                    out[:, :, p * stride + i * dilation, q * stride + j * dilation] += cols[:, i, j, :, p, q]
    return out[:, :, padding:padding + h, padding:padding + w]


@wrong("col2im-positions-transposed", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = image_shape
    kh, kw = kernel_size
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    parts = cols.reshape(n, c, kh, kw, ow, oh)
    return put_back(np.einsum("ncijqp->ncpqij", parts), image_shape, stride, padding, dilation)


@wrong("col2im-flipped", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c = image_shape[:2]
    backwards = cols.reshape(n, c, kernel_size[0] * kernel_size[1], -1)[:, :, ::-1]
    out = scatter(backwards, image_shape, kernel_size, stride, padding, dilation, add)
    return out[:, :, padding:padding + image_shape[2], padding:padding + image_shape[3]]


@wrong("col2im-stride-ignored", "col2im", fails="x")
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = image_shape
    kh, kw = kernel_size
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    cols = cols.reshape(n, c, kh, kw, oh, ow)
    out = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for p in range(oh):
        for q in range(ow):
            out[:, :, p:p + dilation * (kh - 1) + 1:dilation, q:q + dilation * (kw - 1) + 1:dilation] += cols[..., p, q]
    return out[:, :, padding:padding + h, padding:padding + w]
