import numpy as np


def forward_batchnorm(Z, gamma, beta, eps=1e-5):
    """Z is (n_units, m)"""
    mu = np.mean(Z, axis=1, keepdims=True)
    var = np.var(Z, axis=1, keepdims=True)
    Z_hat = (Z - mu) / np.sqrt(var + eps)
    return gamma.reshape(-1, 1) * Z_hat + beta.reshape(-1, 1), (Z_hat, var, gamma, eps)


def backward_batchnorm(dZ, cache):
    Z_hat, var, gamma, eps = cache
    units, m = dZ.shape
    assert gamma.shape == (units, 1)
    dgamma = np.sum(dZ * Z_hat, axis=1, keepdims=True)
    dbeta = np.sum(dZ, axis=1, keepdims=True)
    dZ_prev = gamma / np.sqrt(var + eps) / m * (m * dZ - dbeta - Z_hat * dgamma)
    return dZ_prev, dgamma, dbeta
