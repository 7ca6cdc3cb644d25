import numpy as np

def norm_forward(x, gamma, beta):
    s = x.std(0)
    z = (x - x.mean(0)) / s
    return z * gamma + beta, (z, s, gamma)

def norm_backward(dout, cache):
    z, s, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(0) - z * (g * z).mean(0)) / s
    return dx, (dout * z).sum(0), dout.sum(0)
