import numpy as np


def batchnorm2d_forward(x, gamma, beta, eps=1e-5):
    """x: (N, C, H, W); gamma, beta: (C,)"""
    g = gamma.reshape(1, -1, 1, 1)
    b = beta.reshape(1, -1, 1, 1)
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    var = x.var(axis=(0, 2, 3), keepdims=True)
    std = np.sqrt(var + eps)
    xhat = (x - mean) / std
    return g * xhat + b, (xhat, std, g)


def batchnorm2d_backward(dout, cache):
    xhat, std, g = cache
    n, c, h, w = dout.shape
    m = n * h * w
    dbeta = dout.sum(axis=(0, 2, 3))
    dgamma = (dout * xhat).sum(axis=(0, 2, 3))
    dx = g / (m * std) * (m * dout - dbeta[None, :, None, None] - xhat * dgamma[None, :, None, None])
    return dx, dgamma, dbeta
