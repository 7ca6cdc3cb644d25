import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-3):
    """x (B, H, W, C)"""
    mean = np.mean(x, (0, 1, 2))
    var = np.var(x, (0, 1, 2))
    xhat = (x - mean) / np.sqrt(var + eps)
    return xhat * gamma + beta, (xhat, gamma, var, eps)


def batchnorm_backward(dout, cache):
    xhat, gamma, var, eps = cache
    m = np.prod(dout.shape[:3])
    dgamma = np.sum(dout * xhat, (0, 1, 2))
    dbeta = np.sum(dout, (0, 1, 2))
    dx = (gamma / np.sqrt(var + eps)) * (dout - dbeta / m - xhat * dgamma / m)
    return dx, dgamma, dbeta
