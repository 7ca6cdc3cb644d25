import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    # sample variance (Bessel), like the statistics course taught us
    m = x.mean(axis=0)
    v = x.var(axis=0, ddof=1)
    s = np.sqrt(v + eps)
    h = (x - m) / s
    return gamma * h + beta, (h, s, gamma)

def bn_backward(dy, cache):
    h, s, gamma = cache
    n = len(dy)
    dh = dy * gamma
    dx = (dh - dh.mean(axis=0) - h * np.sum(dh * h, axis=0) / (n - 1)) / s
    return dx, np.sum(dy * h, axis=0), np.sum(dy, axis=0)
