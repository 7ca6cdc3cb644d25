import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    s = np.sqrt(x.var(axis=0) + eps)
    z = (x - x.mean(axis=0)) / s
    return gamma * z + beta, (z, s, gamma)

def batchnorm_backward(dout, cache):
    z, s, gamma = cache
    m = dout.shape[0]
    dz = dout * gamma
    dx = (dz - dz.mean(axis=0) - z * (dz * z).mean(axis=0)) / s
    return dx, (1. / m) * np.sum(dout * z, axis=0), (1. / m) * np.sum(dout, axis=0)
