"""The full N x N Jacobian of every feature. Slow, but nobody can argue with it."""
import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    var = x.var(axis=0)
    xhat = (x - x.mean(axis=0)) / np.sqrt(var + eps)
    return gamma * xhat + beta, (xhat, gamma, var + eps)


def batchnorm_backward(dout, cache):
    xhat, gamma, ve = cache
    N, D = dout.shape
    dx = np.empty_like(dout)
    for d in range(D):
        J = (np.eye(N) - np.ones((N, N)) / N - np.outer(xhat[:, d], xhat[:, d]) / N) * gamma[d] / np.sqrt(ve[d])
        dx[:, d] = J.T @ dout[:, d]
    return dx, np.diag(xhat.T @ dout), dout.T @ np.ones(N)
