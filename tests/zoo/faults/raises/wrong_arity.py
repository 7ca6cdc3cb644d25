import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    mu, var = x.mean(0), x.var(0)
    xn = (x - mu) / np.sqrt(var + eps)
    return gamma * xn + beta, (x, xn, mu, var, gamma, eps)

def bn_backward(dout, cache):
    x, xn, mu, var, gamma = cache
    eps = 1e-5
    m = x.shape[0]
    dg, db = np.sum(dout * xn, 0), np.sum(dout, 0)
    return gamma / np.sqrt(var + eps) / m * (m * dout - db - xn * dg), dg, db
