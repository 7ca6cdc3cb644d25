import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu = np.mean(x, axis=0)
    var = np.var(x, axis=0)
    x_hat = (x - mu) / np.sqrt(var + eps)
    out = gamma * x_hat + beta
    return out, (x_hat, var, gamma, eps)

def batchnorm_backward(dout, cache):
    x_hat, var, gamma, eps = cache
    dgamma = np.sum(dout, axis=0)
    dbeta = np.sum(dout * x_hat, axis=0)
    dx_hat = dout * gamma
    dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * np.mean(dx_hat * x_hat, axis=0)) / np.sqrt(var + eps)
    return dx, dgamma, dbeta
