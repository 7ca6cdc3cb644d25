import numpy as np


def bn_forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0)
    std = np.sqrt(x.var(axis=0) + eps)
    xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, gamma, std)


def bn_backward(dout, cache):
    xhat, gamma, std = cache
    d_b = dout.sum(axis=0)
    d_g = (dout * xhat).sum(axis=0)
    d_x = gamma / std * (dout - d_b / len(dout) - xhat * d_g / len(dout))
    return d_x, d_b, d_g
