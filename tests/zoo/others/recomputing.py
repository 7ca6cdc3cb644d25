import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) + beta

def bn_backward(dout, x, gamma, beta, eps=1e-5):
    # no cache at all
    n = x.shape[0]
    mu, v = x.mean(axis=0), x.var(axis=0) + eps
    xhat = (x - mu) / np.sqrt(v)
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    dx = gamma / np.sqrt(v) * (dout - dbeta / n - xhat * dgamma / n)
    return dx, dgamma, dbeta
