import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get('eps', 1e-5)
    mean, var = x.mean(axis=0), x.var(axis=0)
    xn = (x - mean) / np.sqrt(var + eps)
    return gamma * xn + beta, (x, mean, var, xn, gamma, eps)

def batchnorm_backward(dout, cache):
    x, mean, var, xn, gamma, eps = cache
    N = x.shape[0]
    dxn = dout * gamma
    dvar = np.sum(dxn * (x - mean) * -0.5 * var ** -1.5, axis=0)
    dmean = np.sum(-dxn / np.sqrt(var + eps), axis=0)
    dx = dxn / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N
    return dx, np.sum(dout * xn, axis=0), np.sum(dout, axis=0)
