import numpy as np

def batchnorm_backward(dout, cache):
    x, gamma, beta, x_hat, mean, var, eps = cache
    m = len(x)
    dx_hat = dout * gamma
    dvar = np.sum(dx_hat * (x - mean) * (-0.5) * (var + eps) ** -1.5, axis=0)
    dmean = -np.sum(dx_hat / np.sqrt(var + eps), axis=0)
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / m + dmean / m
    return dx, np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)
