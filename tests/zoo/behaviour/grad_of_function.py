import numpy as np


def batch_norm(x, gamma, beta, eps=1e-5):
    mean, var = x.mean(axis=0), x.var(axis=0)
    y = gamma * (x - mean) / np.sqrt(var + eps) + beta
    return y, mean, var


def batch_norm_grad(dy, x, gamma, mean, var, eps=1e-5):
    n = x.shape[0]
    istd = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * istd
    dbeta = dy.sum(axis=0)
    dgamma = (dy * x_hat).sum(axis=0)
    dx = gamma * istd * (dy - dbeta / n - x_hat * dgamma / n)
    return dx, dgamma, dbeta
