import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    inv = 1 / np.sqrt(np.var(x, axis=0) + eps)
    xh = (x - np.mean(x, axis=0)) * inv
    return gamma * xh + beta, (xh, inv, gamma)

def batchnorm_backward(dout, cache):
    xh, inv, gamma = cache
    n = dout.shape[0]
    dgamma, dbeta = np.sum(dout * xh, axis=0), np.sum(dout, axis=0)
    dxh = dout * gamma
    return gamma * inv / n * (n * dxh - np.sum(dxh, axis=0) - xh * np.sum(dxh * xh, axis=0)), dgamma, dbeta
