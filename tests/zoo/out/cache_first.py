import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    cache = {}
    cache['std'] = np.sqrt(x.var(axis=0) + eps)
    cache['x_hat'] = (x - x.mean(axis=0)) / cache['std']
    cache['gamma'] = gamma
    return cache, gamma * cache['x_hat'] + beta

def batchnorm_backward(dout, cache):
    x_hat, std, gamma = cache['x_hat'], cache['std'], cache['gamma']
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    N = dout.shape[0]
    dx = gamma / std / N * (N * dout - dbeta - x_hat * dgamma)
    return dx, dgamma, dbeta
