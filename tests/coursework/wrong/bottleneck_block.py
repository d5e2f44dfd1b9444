"""Mistakes in the bottleneck block."""


def side_of(x, params, stride, training):
    if "shortcut.conv.weight" in params:
        return conv_bn(x, params, "shortcut.conv", "shortcut.bn", training, stride=stride)
    return x, None


def main_path(x, params, training, strides, relus=(True, True, False)):
    """The three units, with their ReLUs where ``relus`` says so"""
    caches, h = [], x
    for k in range(3):
        name = str(k + 1)
        h, unit = conv_bn(h, params, "conv" + name, "bn" + name, training, stride=strides[k], padding=k % 2)
        r = None
        if relus[k]:
            h, r = relu_forward(h)
        caches.append((unit, r))
    return h, caches


def joined(h, caches, s, side):
    y, last = relu_forward(h + s)
    return y, {"caches": caches, "side": side, "last": last}


@wrong("bottleneck-stride-on-first-convolution", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    return joined(*main_path(x, params, training, (stride, 1, 1)), *side_of(x, params, stride, training))


@wrong("bottleneck-stride-on-third-convolution", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    return joined(*main_path(x, params, training, (1, 1, stride)), *side_of(x, params, stride, training))


@wrong("bottleneck-stride-ignored", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    return joined(*main_path(x, params, training, (1, 1, 1)), *side_of(x, params, 1, training))


@wrong("bottleneck-shortcut-forgotten", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    h, caches = main_path(x, params, training, (1, stride, 1))
    return joined(h, caches, np.zeros_like(h), side_of(x, params, stride, training)[1])


@wrong("bottleneck-relu-before-sum", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    h, caches = main_path(x, params, training, (1, stride, 1), (True, True, True))
    s, side = side_of(x, params, stride, training)
    return h + s, {"caches": caches, "side": side, "last": {"x": np.ones_like(h)}}


@wrong("bottleneck-final-relu-missing", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    h, caches = main_path(x, params, training, (1, stride, 1))
    s, side = side_of(x, params, stride, training)
    return s + h, {"caches": caches, "side": side, "last": {"x": np.ones_like(h)}}


@wrong("bottleneck-second-relu-missing", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    main = main_path(x, params, training, (1, stride, 1), (True, False, False))
    return joined(*main, *side_of(x, params, stride, training))


@wrong("bottleneck-third-normalisation-missing", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    _, caches = main_path(x, params, training, (1, stride, 1))
    before = np.maximum(caches[1][1]["x"], 0)
    h = np.einsum("nchw,oc->nohw", before, params["conv3.weight"][:, :, 0, 0])
    return joined(h, caches, *side_of(x, params, stride, training))


@wrong("bottleneck-projection-without-normalisation", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    s, side = side_of(x, params, stride, training)
    if side:
        s = conv2d_forward(x, params["shortcut.conv.weight"], stride=stride)[0]
    return joined(*main_path(x, params, training, (1, stride, 1)), s, side)


@wrong("bottleneck-always-training", "bottleneck_block_forward", fails="y")
def bottleneck_block_forward(x, params, stride=1, training=True):
    return joined(*main_path(x, params, True, (1, stride, 1)), *side_of(x, params, stride, True))


def back_side(d, cache, grads):
    return d if cache["side"] is None else conv_bn_backward(d, cache["side"], grads)


def back_main(d, cache, grads, masks=(True, True)):
    (one, r1), (two, r2), (three, _) = cache["caches"]
    d = conv_bn_backward(d, three, grads)
    d = conv_bn_backward(relu_backward(d, r2) if masks[1] else d, two, grads)
    return conv_bn_backward(relu_backward(d, r1) if masks[0] else d, one, grads)


@wrong("bottleneck-backward-skip-lost", "bottleneck_block_backward", fails="dx")
def bottleneck_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    back_side(d, cache, grads)
    return back_main(d, cache, grads), grads


@wrong("bottleneck-backward-skip-before-relu", "bottleneck_block_backward", fails=("dx", "grads"))
def bottleneck_block_backward(dy, cache):
    grads = {}
    dx = back_main(relu_backward(dy, cache["last"]), cache, grads)
    return dx + back_side(dy, cache, grads), grads


@wrong("bottleneck-backward-final-relu-missing", "bottleneck_block_backward", fails=("dx", "grads"))
def bottleneck_block_backward(dy, cache):
    grads = {}
    return back_main(dy, cache, grads) + back_side(dy, cache, grads), grads


@wrong("bottleneck-backward-first-relu-missing", "bottleneck_block_backward", fails=("dx", "grads"))
def bottleneck_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    return back_main(d, cache, grads, masks=(False, True)) + back_side(d, cache, grads), grads


@wrong("bottleneck-backward-second-relu-missing", "bottleneck_block_backward", fails=("dx", "grads"))
def bottleneck_block_backward(dy, cache):
    grads = {}
    d = relu_backward(dy, cache["last"])
    return back_main(d, cache, grads, masks=(True, False)) + back_side(d, cache, grads), grads


@wrong("bottleneck-backward-main-path-lost", "bottleneck_block_backward", fails="dx")
def bottleneck_block_backward(dy, cache):
    dx, grads = residual_backward(dy, cache)
    return back_side(relu_backward(dy, cache["last"]), cache, {}), grads


@wrong("bottleneck-backward-shortcut-grads-missing", "bottleneck_block_backward", fails="grads")
def bottleneck_block_backward(dy, cache):
    dx, grads = residual_backward(dy, cache)
    return dx, {f"{layer}{k}.{kind}": grads[f"{layer}{k}.{kind}"] for k in (1, 2, 3) for layer, kind in
                (("conv", "weight"), ("bn", "weight"), ("bn", "bias"))}


@wrong("bottleneck-backward-normalisations-swapped", "bottleneck_block_backward", fails="grads")
def bottleneck_block_backward(dy, cache):
    dx, grads = residual_backward(dy, cache)
    for kind in ("weight", "bias"):
        grads["bn1." + kind], grads["bn2." + kind] = grads["bn2." + kind], grads["bn1." + kind]
    return dx, grads


@wrong("bottleneck-backward-averaged", "bottleneck_block_backward", fails="grads")
def bottleneck_block_backward(dy, cache):
    dx, grads = residual_backward(dy, cache)
    return dx, {k: g / len(dy) for k, g in grads.items()}
