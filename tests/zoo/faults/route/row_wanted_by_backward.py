import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0, keepdims=True)
    var = x.var(axis=0, keepdims=True)
    x_hat = (x - mu) / np.sqrt(var + eps)
    return x_hat * gamma + beta, (x, x_hat, mu, var, gamma, eps)

def bn_backward(dout, cache):
    x, x_hat, mu, var, gamma, eps = cache
    N, D = x.shape
    one, D_ = gamma.shape           # (1, D)
    dgamma = np.sum(dout * x_hat, axis=0).reshape(one, D_)
    dbeta = np.sum(dout, axis=0).reshape(one, D_)
    dx_hat = dout * gamma
    dmu = np.sum(-dx_hat / np.sqrt(var + eps), axis=0)
    dx = dx_hat / np.sqrt(var + eps) + dmu / N
    return dx, dgamma, dbeta
