import numpy as np

cache = {}

def bn_forward(x, gamma, beta, eps=1e-5):
    cache['std'] = np.sqrt(x.var(axis=0) + eps)
    cache['x_hat'] = (x - x.mean(axis=0)) / cache['std']
    cache['gamma'] = gamma
    return gamma * cache['x_hat'] + beta

def bn_backward(dout):
    x_hat, std, gamma = cache['x_hat'], cache['std'], cache['gamma']
    n = len(dout)
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    dx = gamma / std * (dout - x_hat * dgamma / n)
    return dx, dgamma, dbeta
