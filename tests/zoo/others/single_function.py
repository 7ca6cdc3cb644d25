import numpy as np


def batchnorm(x, gamma, beta, dout=None, eps=1e-5):
    """without dout: the forward; with it: the gradients too"""
    mu, var = x.mean(axis=0), x.var(axis=0)
    s = np.sqrt(var + eps)
    z = (x - mu) / s
    out = gamma * z + beta
    if dout is None:
        return out
    dz = dout * gamma
    dx = (dz - dz.mean(axis=0) - z * (dz * z).mean(axis=0)) / s
    return out, dx, (dout * z).sum(axis=0), dout.sum(axis=0)
