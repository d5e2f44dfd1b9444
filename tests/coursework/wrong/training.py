"""Mistakes in the optimiser and in the training loop."""


@wrong("sgd-lr-in-velocity", "sgd_momentum_step", fails=("param", "velocity"))
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    velocity = momentum * velocity + lr * (grad + weight_decay * param)  # as in older frameworks
    return param - velocity, velocity


@wrong("sgd-dampened", "sgd_momentum_step", fails=("param", "velocity"))
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    g = grad + weight_decay * param
    v = g + momentum * (velocity - g)  # a running average
    return param - lr * v, v


@wrong("sgd-momentum-on-gradient", "sgd_momentum_step", fails=("param", "velocity"))
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    velocity = velocity + grad + weight_decay * param
    velocity = velocity * momentum
    return param - lr * velocity, velocity


@wrong("sgd-nesterov", "sgd_momentum_step", fails="param")
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    g = grad + weight_decay * param
    v = momentum * velocity + g
    return param - lr * (momentum * v + g), v


@wrong("sgd-momentum-forgotten", "sgd_momentum_step", fails=("param", "velocity"))
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    step = grad + weight_decay * param
    return param - lr * step, step


@wrong("sgd-old-velocity-used", "sgd_momentum_step", fails="param")
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    new_param = param - lr * velocity
    return new_param, velocity * momentum + grad + weight_decay * param


@wrong("sgd-velocity-negated", "sgd_momentum_step", fails=("param", "velocity"))
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    velocity = momentum * velocity - lr * (grad + weight_decay * param)
    return param + velocity, velocity


@wrong("sgd-ascent", "sgd_momentum_step", fails="param")
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    v = np.sum([momentum * velocity, grad, weight_decay * param], axis=0)
    return param + np.multiply(lr, v), v


@wrong("sgd-lr-forgotten", "sgd_momentum_step", fails="param")
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    v = momentum * velocity + grad + weight_decay * param
    return param - v, v


@wrong("sgd-weight-decay-forgotten", "sgd_momentum_step", fails=("param", "velocity"))
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    v = grad + momentum * velocity
    return param - lr * v, v


@wrong("sgd-weight-decay-decoupled", "sgd_momentum_step", fails="velocity")
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    v = grad + momentum * velocity
    return (1 - lr * weight_decay) * param - lr * v, v


@wrong("sgd-weight-decay-negated", "sgd_momentum_step", fails=("param", "velocity"))
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    v = grad - weight_decay * param + momentum * velocity
    return param - lr * v, v


@wrong("sgd-weight-decay-of-sign", "sgd_momentum_step", fails=("param", "velocity"))
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    v = grad + weight_decay * np.where(param > 0, 1.0, -1.0) + momentum * velocity
    return param - lr * v, v


def copied(params):
    return {k: np.array(v) for k, v in params.items()}


def zeros(params):
    return {k: np.zeros(v.shape) for k, v in params.items() if not k.endswith(("_mean", "_var"))}


def update(params, grads, velocity, lr, momentum):
    for k in velocity:
        velocity[k] = momentum * velocity[k] + grads[k]
        params[k] = params[k] - lr * velocity[k]


@wrong("train-momentum-lost", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, losses = copied(params), []
    for _ in range(steps):
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        update(params, grads, zeros(params), lr, momentum)
    return np.array(losses), params


@wrong("train-momentum-fixed", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, velocity, losses = copied(params), zeros(params), []
    for _ in range(steps):
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        for k in velocity:
            params[k], velocity[k] = sgd_momentum_step(params[k], grads[k], velocity[k], lr)
    return np.array(losses), params


@wrong("train-loss-after-step", "train_small_resnet", fails="losses")
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, velocity, losses = copied(params), zeros(params), np.zeros(steps)
    for t in range(steps):
        _, grads = one_pass(images, labels, params)
        update(params, grads, velocity, lr, momentum)
        losses[t], _ = one_pass(images, labels, params)
    return losses, params


@wrong("train-head-not-trained", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, losses = copied(params), []
    velocity = {k: v for k, v in zeros(params).items() if k.split(".")[0] in ("stem", "block1", "block2")}
    for _ in range(steps):
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        update(params, grads, velocity, lr, momentum)
    return np.array(losses), params


@wrong("train-stem-not-trained", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, losses = copied(params), []
    velocity = {k: v for k, v in zeros(params).items() if "stem" not in k}
    for _ in range(steps):
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        update(params, grads, velocity, lr, momentum)
    return np.array(losses), params


@wrong("train-normalisations-not-trained", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, losses = copied(params), []
    velocity = {k: v for k, v in zeros(params).items() if ".bn" not in k}
    for _ in range(steps):
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        update(params, grads, velocity, lr, momentum)
    return np.array(losses), params


@wrong("train-last-step-missing", "train_small_resnet", fails="params")
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, velocity, losses = copied(params), zeros(params), []
    while True:
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        if len(losses) == steps:
            break
        update(params, grads, velocity, lr, momentum)
    return np.array(losses), params


@wrong("train-gradients-accumulated", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, velocity, losses = copied(params), zeros(params), []
    total = zeros(params)  # never set back
    for _ in range(steps):
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        for k, g in grads.items():
            total[k] += g
        update(params, total, velocity, lr, momentum)
    return np.array(losses), params


@wrong("train-gradients-of-the-start", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    current, velocity, losses = copied(params), zeros(params), []
    for _ in range(steps):
        loss, _ = one_pass(images, labels, current)
        _, grads = one_pass(images, labels, params)
        losses.append(loss)
        update(current, grads, velocity, lr, momentum)
    return np.array(losses), current


@wrong("train-ascent", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    params, velocity, losses = copied(params), zeros(params), []
    for _ in range(steps):
        loss, grads = one_pass(images, labels, params)
        losses.append(loss)
        for k in velocity:
            velocity[k] = momentum * velocity[k] + grads[k]
            params[k] += lr * velocity[k]
    return np.array(losses), params


@wrong("train-params-of-the-start", "train_small_resnet", fails="params")
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    trained, velocity, losses = copied(params), zeros(params), []
    for _ in range(steps):
        loss, grads = one_pass(images, labels, trained)
        losses.append(loss)
        update(trained, grads, velocity, lr, momentum)
    return np.array(losses), copied(params)


def pass_with(images, labels, params, training=True, stride=2, rectified=True, padding=1, pooled_by=None):
    """One pass, parts of which may be other than they should"""
    h, stem = conv_bn(images, params, "stem.conv", "stem.bn", training, padding=padding)
    relu = None
    if rectified:
        h, relu = relu_forward(h)
    h, block1 = basic_block_forward(h, part_of(params, "block1."), training=training)
    h, block2 = basic_block_forward(h, part_of(params, "block2."), stride=stride, training=training)
    area = h.shape[2] * h.shape[3] if pooled_by == "sum" else 1
    h, pool = global_avg_pool_forward(h)
    h, head = linear_forward(h * area, params["head.weight"], params["head.bias"])
    loss, d = softmax_cross_entropy(h, labels)
    grads = {}
    d, grads["head.weight"], grads["head.bias"] = linear_backward(d, head)
    d, two = basic_block_backward(global_avg_pool_backward(d * area, pool), block2)
    d, one = basic_block_backward(d, block1)
    conv_bn_backward(d if relu is None else relu_backward(d, relu), stem, grads)
    grads.update({"block1." + k: v for k, v in one.items()})
    grads.update({"block2." + k: v for k, v in two.items()})
    return loss, grads


def train_with(images, labels, params, steps, lr, momentum, **other):
    params, velocity, losses = copied(params), zeros(params), []
    for _ in range(steps):
        loss, grads = pass_with(images, labels, params, **other)
        losses.append(loss)
        update(params, grads, velocity, lr, momentum)
    return np.array(losses), params


@wrong("train-evaluation-mode", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    return train_with(images, labels, params, steps, lr, momentum, training=False)


@wrong("train-second-block-not-strided", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    return train_with(images, labels, params, steps, lr, momentum, stride=1)


@wrong("train-stem-relu-missing", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    return train_with(images, labels, params, steps, lr, momentum, rectified=False)


@wrong("train-pool-summed", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    return train_with(images, labels, params, steps, lr, momentum, pooled_by="sum")


@wrong("train-stem-padding-missing", "train_small_resnet", fails=("losses", "params"))
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    return train_with(images, labels, params, steps, lr, momentum, padding=0)
