import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=(0, 2, 3), keepdims=True)
    inv = 1 / np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + eps)
    xh = (x - mu) * inv
    return gamma * xh + beta, (xh, inv, gamma)

def batchnorm_backward(dout, cache):
    xh, std, gamma = cache
    ax = (0, 2, 3)
    dxh = dout * gamma
    dx = (dxh - dxh.mean(axis=ax, keepdims=True) - xh * (dxh * xh).mean(axis=ax, keepdims=True)) / std
    return dx, (dout * xh).sum(axis=ax, keepdims=True), dout.sum(axis=ax, keepdims=True)
