import numpy as np


def batchnorm_fwd(x, gamma, beta, running_mean, running_var, momentum=0.9, eps=1e-5, train=True):
    """y, cache, new_running_mean, new_running_var"""
    if not train:
        return gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta, None, running_mean, running_var
    mean, var = x.mean(0), x.var(0)
    istd = 1.0 / np.sqrt(var + eps)
    xhat = (x - mean) * istd
    running_mean = momentum * running_mean + (1.0 - momentum) * mean
    running_var = momentum * running_var + (1.0 - momentum) * var
    return gamma * xhat + beta, (xhat, istd, gamma), running_mean, running_var


def batchnorm_bwd(dy, cache):
    xhat, istd, gamma = cache
    dbeta = dy.sum(0)
    dgamma = (xhat * dy).sum(0)
    dx = gamma * istd * (dy - dy.mean(0) - xhat * (xhat * dy).mean(0))
    return dx, dgamma, dbeta
