import numpy as np

def batch_norm_forward(x, gamma, beta, eps=1e-5):
    mu, var = np.mean(x, axis=0), np.var(x, axis=0)
    std = np.sqrt(var + eps)
    xn = (x - mu) / std
    return gamma * xn + beta, (x - mu, xn, std, gamma)

def batch_norm_backward(dout, cache):
    xmu, xn, ivar, gamma = cache  # ivar = 1 / std
    N = len(dout)
    dxn = dout * gamma
    dvar = np.sum(dxn * xmu, axis=0) * -.5 * ivar ** 3
    dmu = np.sum(dxn * -ivar, axis=0)
    return dxn * ivar + dvar * 2 * xmu / N + dmu / N, np.sum(dout * xn, axis=0), np.sum(dout, axis=0)
