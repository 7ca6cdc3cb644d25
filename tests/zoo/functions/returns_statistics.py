import numpy as np


def bn_forward(x, gamma, beta, eps=1e-5):
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta, (x, mean, var, x_hat, gamma, eps)


def bn_backward(dout, cache):
    """dx, dgamma, dbeta, dmean, dvar: all five, for the picture in the report"""
    x, mean, var, x_hat, gamma, eps = cache
    n = len(x)
    dx_hat = dout * gamma
    dvar = (dx_hat * (x - mean)).sum(axis=0) * -0.5 * (var + eps) ** -1.5
    dmean = -dx_hat.sum(axis=0) / np.sqrt(var + eps) - 2 * dvar * (x - mean).mean(axis=0)
    dx = dx_hat / np.sqrt(var + eps) + 2 * dvar * (x - mean) / n + dmean / n
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0), dmean, dvar
