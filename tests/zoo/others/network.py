import numpy as np


class TwoLayerNet(object):
    """Only the batch norm part of it matters here."""

    def __init__(self, hidden=10, reg=0.0):
        self.hidden, self.reg = hidden, reg

    def loss(self, X, y=None):
        raise NotImplementedError

    def batchnorm_forward(self, x, gamma, beta, eps=1e-5):
        mu = x.mean(axis=0)
        inv = 1.0 / np.sqrt(x.var(axis=0) + eps)
        x_hat = (x - mu) * inv
        return gamma * x_hat + beta, (x_hat, inv, gamma)

    def batchnorm_backward(self, dout, cache):
        x_hat, inv, gamma = cache
        dgamma = (dout * x_hat).sum(axis=0)
        dbeta = dout.sum(axis=0)
        n = dout.shape[0]
        return gamma * inv * (dout - dbeta / n - x_hat * dgamma / n), dgamma, dbeta
