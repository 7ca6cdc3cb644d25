# Examples are COLUMNS here (n_x, m), like in the Coursera notation.
import numpy as np

def batchnorm_forward(Z, gamma, beta, eps=1e-8):
    assert gamma.shape == (Z.shape[0], 1)
    mu = np.mean(Z, axis=1, keepdims=True)
    var = np.mean((Z - mu) ** 2, axis=1, keepdims=True)
    Znorm = (Z - mu) / np.sqrt(var + eps)
    return gamma * Znorm + beta, (Znorm, mu, var, gamma, eps)

def batchnorm_backward(dZt, cache):
    Znorm, mu, var, gamma, eps = cache
    m = dZt.shape[1]
    dgamma = np.sum(dZt * Znorm, axis=1, keepdims=True)
    dbeta = np.sum(dZt, axis=1, keepdims=True)
    dZnorm = gamma * dZt
    dZ = 1. / m / np.sqrt(var + eps) * (m * dZnorm - np.sum(dZnorm, axis=1, keepdims=True)
                                        - Znorm * np.sum(dZnorm * Znorm, axis=1, keepdims=True))
    return dZ, dgamma, dbeta
