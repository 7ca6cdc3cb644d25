import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    """the mean is that of each feature, the variance that of all of them"""
    centred = x - np.mean(x, axis=0)
    inv = 1.0 / np.sqrt(np.var(x) + eps)
    x_hat = centred * inv
    return gamma * x_hat + beta, (x_hat, inv, gamma)

def bn_backward(dout, cache):
    x_hat, inv, gamma = cache
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * x_hat, axis=0)
    dx_hat = dout * gamma
    dx = inv * (dx_hat - np.mean(dx_hat, axis=0) - x_hat * np.mean(dx_hat * x_hat, axis=0))
    return dx, dgamma, dbeta
