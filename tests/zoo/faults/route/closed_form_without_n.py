import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get('eps', 1e-5)
    mu, var = np.mean(x, axis=0), np.var(x, axis=0)
    xn = (x - mu) / np.sqrt(var + eps)
    cache = (xn, var, gamma, eps)
    return gamma * xn + beta, cache

def batchnorm_backward(dout, cache):
    """right"""
    xn, var, gamma, eps = cache
    N = dout.shape[0]
    dgamma, dbeta = np.sum(dout * xn, axis=0), np.sum(dout, axis=0)
    return gamma / np.sqrt(var + eps) / N * (N * dout - dbeta - xn * dgamma), dgamma, dbeta

def batchnorm_backward_alt(dout, cache):
    """faster, and not quite the same"""
    xn, var, gamma, eps = cache
    dgamma, dbeta = np.sum(dout * xn, axis=0), np.sum(dout, axis=0)
    return gamma / np.sqrt(var + eps) * (dout - dbeta - xn * dgamma), dgamma, dbeta
