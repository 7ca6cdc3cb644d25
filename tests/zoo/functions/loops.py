# no vectorisation on purpose: I wanted to see every sum
import math
import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    N, D = x.shape
    out = np.zeros_like(x)
    x_hat = np.zeros_like(x)
    std = np.zeros_like(x[0])
    for j in range(D):
        total = 0
        for i in range(N):
            total = total + x[i, j]
        mu = total / N
        sq = 0
        for i in range(N):
            sq = sq + (x[i, j] - mu) ** 2
        std[j] = np.sqrt(sq / N + eps)
        for i in range(N):
            x_hat[i, j] = (x[i, j] - mu) / std[j]
            out[i, j] = gamma[j] * x_hat[i, j] + beta[j]
    return out, (x_hat, std, gamma)


def batchnorm_backward(dout, cache):
    x_hat, std, gamma = cache
    N, D = dout.shape
    dx = np.zeros_like(dout)
    dgamma = np.zeros_like(gamma)
    dbeta = np.zeros_like(gamma)
    for j in range(D):
        for i in range(N):
            dgamma[j] += dout[i, j] * x_hat[i, j]
            dbeta[j] += dout[i, j]
        for i in range(N):
            # sum over k of d out_k / d x_i
            s = 0
            for k in range(N):
                delta = 1.0 if i == k else 0.0
                s += dout[k, j] * (delta - 1.0 / N - x_hat[i, j] * x_hat[k, j] / N)
            dx[i, j] = gamma[j] / std[j] * s
    return dx, dgamma, dbeta
