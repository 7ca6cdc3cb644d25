import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    inv = 1 / np.sqrt(x.var(axis=0) + eps)
    xn = (x - x.mean(axis=0)) * inv
    return gamma * xn + beta, (xn, gamma, inv)

def batchnorm_backward(dout, cache):
    xn, gamma, inv = cache
    return dout * gamma * inv, np.sum(dout * xn, axis=0), np.sum(dout, axis=0)
