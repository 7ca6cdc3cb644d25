import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0)
    xc = x - mu
    sd = np.sqrt(np.mean(xc ** 2, axis=0))
    xn = xc / (sd + eps)
    return gamma * xn + beta, (xc, xn, sd, gamma, eps)

def batchnorm_backward(dout, cache):
    xc, xn, sd, gamma, eps = cache
    N = dout.shape[0]
    dxn = dout * gamma
    dsd = -np.sum(dxn * xc, axis=0) / (sd + eps) ** 2
    dxc = dxn / (sd + eps) + dsd * xc / (N * sd)
    dx = dxc - dxc.mean(axis=0)
    return dx, np.sum(dout * xn, axis=0), np.sum(dout, axis=0)
