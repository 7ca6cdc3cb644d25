import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    s = np.sqrt(x.var(axis=0) + eps)
    h = (x - x.mean(axis=0)) / s
    return gamma * h + beta, (h, s, gamma)

def batchnorm_backward(dout, cache):
    dx, dgamma, dbeta = None, None, None
    h, s, gamma = cache
    dbeta = np.sum(dout, axis=0)
    dh = dout * gamma
    dx = (dh - dh.mean(axis=0) - h * (dh * h).mean(axis=0)) / s
    return dx, dgamma, dbeta
