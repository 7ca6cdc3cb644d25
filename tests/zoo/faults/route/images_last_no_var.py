import numpy as np

def batch_norm_forward(x, gamma, beta, eps=1e-5):
    mu, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    h = (x - mu) / np.sqrt(var + eps)
    return gamma * h + beta, (h, gamma, var, eps)

def batch_norm_backward(dout, cache):
    h, gamma, var, eps = cache
    dh = dout * gamma
    dx = (dh - dh.mean(axis=(0, 1, 2))) / np.sqrt(var + eps)
    return dx, (dout * h).sum(axis=(0, 1, 2)), dout.sum(axis=(0, 1, 2))
