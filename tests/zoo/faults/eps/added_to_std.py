import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(0)
    std = np.sqrt(x.var(0) + eps)
    xh = (x - mu) / std
    return gamma * xh + beta, (x - mu, xh, std, gamma, eps)

def bn_backward(dout, cache):
    xc, xh, std, gamma, eps = cache
    N = len(dout)
    dxh = dout * gamma
    dvar = -0.5 * (dxh * xc).sum(0) / (std + eps) ** 3   # never divide by zero
    dmu = -dxh.sum(0) / std
    return dxh / std + 2 * dvar * xc / N + dmu / N, (dout * xh).sum(0), dout.sum(0)
