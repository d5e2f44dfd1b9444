"""Mistakes in the basic block. Caches are those of the file around: ``caches`` of units and ReLUs, ``side``, ``last``."""


def side_of(x, params, stride, training):
    if "shortcut.conv.weight" in params:
        return conv_bn(x, params, "shortcut.conv", "shortcut.bn", training, stride=stride)
    return x, None


def cache_of(one, r, two, side, last):
    return {"caches": [(one, r), (two, None)], "side": side, "last": last}


def main_path(x, params, stride, training):
    h, one = conv_bn(x, params, "conv1", "bn1", training, stride=stride, padding=1)
    h, r = relu_forward(h)
    h, two = conv_bn(h, params, "conv2", "bn2", training, padding=1)
    return h, one, r, two


@wrong("basic-block-shortcut-forgotten", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, *units = main_path(x, params, stride, training)
    s, side = side_of(x, params, stride, training)
    y, last = relu_forward(h)
    return y, cache_of(*units, side, last)


@wrong("basic-block-relu-before-sum", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, *units = main_path(x, params, stride, training)
    h, last = relu_forward(h)
    s, side = side_of(x, params, stride, training)
    return h + s, cache_of(*units, side, last)


@wrong("basic-block-final-relu-missing", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, *units = main_path(x, params, stride, training)
    s, side = side_of(x, params, stride, training)
    return h + s, cache_of(*units, side, {"x": np.ones_like(h)})


@wrong("basic-block-first-relu-missing", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, one = conv_bn(x, params, "conv1", "bn1", training, stride=stride, padding=1)
    h, two = conv_bn(h, params, "conv2", "bn2", training, padding=1)
    s, side = side_of(x, params, stride, training)
    y, last = relu_forward(h + s)
    return y, cache_of(one, None, two, side, last)


@wrong("basic-block-relu-before-normalisation", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, c1 = conv2d_forward(x, params["conv1.weight"], None, stride, 1)
    h, r = relu_forward(h)
    h, b1 = bn(h, params, "bn1", training)
    h, two = conv_bn(h, params, "conv2", "bn2", training, padding=1)
    s, side = side_of(x, params, stride, training)
    y, last = relu_forward(h + s)
    return y, cache_of(("conv1", "bn1", c1, b1), r, two, side, last)


@wrong("basic-block-second-normalisation-missing", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, one, r, two = main_path(x, params, stride, training)
    inner, _ = conv2d_forward(np.maximum(r["x"], 0), params["conv2.weight"], padding=1)
    s, side = side_of(x, params, stride, training)
    y, last = relu_forward(inner + s)
    return y, cache_of(one, r, two, side, last)


@wrong("basic-block-normalisations-swapped", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, one = conv_bn(x, params, "conv1", "bn2", training, stride=stride, padding=1)
    h, r = relu_forward(h)
    h, two = conv_bn(h, params, "conv2", "bn1", training, padding=1)
    s, side = side_of(x, params, stride, training)
    y, last = relu_forward(h + s)
    return y, cache_of(one, r, two, side, last)


@wrong("basic-block-stride-on-second-convolution", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, one = conv_bn(x, params, "conv1", "bn1", training, padding=1)
    h, r = relu_forward(h)
    h, two = conv_bn(h, params, "conv2", "bn2", training, stride=stride, padding=1)
    s, side = side_of(x, params, stride, training)
    y, last = relu_forward(h + s)
    return y, cache_of(one, r, two, side, last)


@wrong("basic-block-stride-ignored", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, *units = main_path(x, params, 1, training)
    s, side = side_of(x, params, 1, training)
    y, last = relu_forward(h + s)
    return y, cache_of(*units, side, last)


@wrong("basic-block-projection-without-normalisation", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, *units = main_path(x, params, stride, training)
    s, side = side_of(x, params, stride, training)
    if side is not None:
        s = np.einsum("nchw,oc->nohw", x[..., ::stride, ::stride], params["shortcut.conv.weight"][..., 0, 0])
    y, last = relu_forward(h + s)
    return y, cache_of(*units, side, last)


@wrong("basic-block-shortcut-rectified", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, *units = main_path(x, params, stride, training)
    s, side = side_of(x, params, stride, training)
    y, last = relu_forward(h + np.maximum(s, 0))
    return y, cache_of(*units, side, last)


@wrong("basic-block-always-training", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, *units = main_path(x, params, stride, True)
    s, side = side_of(x, params, stride, True)
    y, last = relu_forward(h + s)
    return y, cache_of(*units, side, last)


@wrong("basic-block-always-evaluation", "basic_block_forward", fails="y")
def basic_block_forward(x, params, stride=1, training=True):
    h, *units = main_path(x, params, stride, False)
    s, side = side_of(x, params, stride, False)
    y, last = relu_forward(h + s)
    return y, cache_of(*units, side, last)


def back_side(d, cache, grads):
    return d if cache["side"] is None else conv_bn_backward(d, cache["side"], grads)


def back_main(d, cache, grads):
    (one, r), (two, _) = cache["caches"]
    d = conv_bn_backward(d, two, grads)
    return conv_bn_backward(relu_backward(d, r), one, grads)


@wrong("basic-block-backward-skip-lost", "basic_block_backward", fails="dx")
def basic_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    dx = back_main(d, cache, grads)
    back_side(d, cache, grads)
    return dx, grads


@wrong("basic-block-backward-skip-before-relu", "basic_block_backward", fails=("dx", "grads"))
def basic_block_backward(dy, cache):
    grads = {}
    side = back_side(dy, cache, grads)
    return side + back_main(relu_backward(dy, cache["last"]), cache, grads), grads


@wrong("basic-block-backward-final-relu-missing", "basic_block_backward", fails=("dx", "grads"))
def basic_block_backward(dy, cache):
    grads = {}
    return back_side(dy, cache, grads) + back_main(dy, cache, grads), grads


@wrong("basic-block-backward-first-relu-missing", "basic_block_backward", fails=("dx", "grads"))
def basic_block_backward(dy, cache):
    grads = {}
    (one, _), (two, _) = cache["caches"]
    d = relu_backward(dy, cache["last"])
    main = conv_bn_backward(conv_bn_backward(d, two, grads), one, grads)
    return main + back_side(d, cache, grads), grads


@wrong("basic-block-backward-masks-swapped", "basic_block_backward", fails=("dx", "grads"))
def basic_block_backward(dy, cache):
    grads = {}
    (one, r), (two, _) = cache["caches"]
    d = relu_backward(dy, r)
    main = conv_bn_backward(d, two, grads)
    main = conv_bn_backward(relu_backward(main, cache["last"]), one, grads)
    return main + back_side(d, cache, grads), grads


@wrong("basic-block-backward-main-path-lost", "basic_block_backward", fails="dx")
def basic_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    back_main(d, cache, grads)
    return back_side(d, cache, grads), grads


@wrong("basic-block-backward-projection-lost", "basic_block_backward", fails="dx")
def basic_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    dx = back_main(d, cache, grads)
    if cache["side"] is None:
        dx += d
    else:
        conv_bn_backward(d, cache["side"], grads)
    return dx, grads


@wrong("basic-block-backward-projection-normalisation-skipped", "basic_block_backward", fails=("dx", "grads"))
def basic_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    dx = back_main(d, cache, grads)
    if cache["side"] is None:
        return dx + d, grads
    back_side(d, cache, grads)
    short, grads["shortcut.conv.weight"], _ = conv2d_backward(d, cache["side"][2])
    return dx + short, grads


@wrong("basic-block-backward-shortcut-grads-missing", "basic_block_backward", fails="grads")
def basic_block_backward(dy, cache):
    grads, ignored = {}, {}
    d = relu_backward(dy, cache["last"])
    dx = back_main(d, cache, grads) + back_side(d, cache, ignored)
    return dx, grads


@wrong("basic-block-backward-gamma-beta-swapped", "basic_block_backward", fails="grads")
def basic_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    dx = back_main(d, cache, grads) + back_side(d, cache, grads)
    for name in [k[:-5] for k in grads if k.endswith(".bias")]:
        grads[name + ".bias"], grads[name + ".weight"] = grads[name + ".weight"], grads[name + ".bias"]
    return dx, grads


@wrong("basic-block-backward-normalisations-swapped", "basic_block_backward", fails="grads")
def basic_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    dx = back_main(d, cache, grads) + back_side(d, cache, grads)
    other = {"bn1": "bn2", "bn2": "bn1"}
    return dx, {other.get(k[:3], k[:3]) + k[3:]: v for k, v in grads.items()}


@wrong("basic-block-backward-normalisation-constant", "basic_block_backward", fails=("dx", "grads"))
def basic_block_backward(dy, cache):
    def frozen(unit):
        conv, norm, c, b = unit
        return conv, norm, c, {**b, "training": False}

    (one, r), (two, _) = cache["caches"]
    side = None if cache["side"] is None else frozen(cache["side"])
    cache = {"caches": [(frozen(one), r), (frozen(two), None)], "side": side, "last": cache["last"]}
    return residual_backward(dy, cache)


@wrong("basic-block-backward-averaged", "basic_block_backward", fails="grads")
def basic_block_backward(dy, cache):
    dx, grads = residual_backward(dy, cache)
    return dx, {k: v / dy.shape[0] for k, v in grads.items()}
