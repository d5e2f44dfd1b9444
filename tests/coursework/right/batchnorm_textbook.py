"""Style: the computational graph of the paper, node by node, with explicit dvar and dmean.

Solves: batchnorm2d_forward, batchnorm2d_backward
"""
import numpy as np

AXES = (0, 2, 3)
ROW = (1, -1, 1, 1)


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    if training:
        mu = np.mean(x, axis=AXES)
        xmu = x - mu.reshape(ROW)
        var = np.mean(xmu ** 2, axis=AXES)
        N = x.size / x.shape[1]
        running_mean = running_mean * (1.0 - momentum) + mu * momentum
        running_var = running_var * (1.0 - momentum) + var * (N / (N - 1.0)) * momentum
    else:
        xmu = x - running_mean.reshape(ROW)
        var = running_var
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar.reshape(ROW)
    gammax = weight.reshape(ROW) * xhat
    out = gammax + bias.reshape(ROW)
    cache = (xhat, weight, xmu, ivar, sqrtvar, var, eps, training)
    return out, cache, np.copy(running_mean), np.copy(running_var)


def batchnorm2d_backward(dy, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps, training = cache
    N = dy.shape[0] * dy.shape[2] * dy.shape[3]
    dbeta = np.sum(dy, axis=AXES)
    dgamma = np.sum(dy * xhat, axis=AXES)
    dxhat = dy * gamma.reshape(ROW)
    if training is True or training == 1:
        dvar = np.sum(dxhat * xmu, axis=AXES) * -0.5 * (var + eps) ** -1.5
        dmean = np.sum(dxhat * -ivar.reshape(ROW), axis=AXES) + dvar * np.mean(-2.0 * xmu, axis=AXES)
        dx = dxhat * ivar.reshape(ROW) + dvar.reshape(ROW) * 2.0 * xmu / N + dmean.reshape(ROW) / N
    else:
        dx = dxhat / sqrtvar.reshape(ROW)
    return dx, dgamma, dbeta
