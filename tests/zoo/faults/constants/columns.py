import numpy as np

def batchnorm_forward(Z, gamma, beta, eps=1e-8):
    mean, var = np.mean(Z, axis=1, keepdims=True), np.var(Z, axis=1, keepdims=True)
    Zn = (Z - mean) / np.sqrt(var + eps)
    return gamma * Zn + beta, (Zn, gamma, var, eps)

def batchnorm_backward(dZt, cache):
    Zn, gamma, var, eps = cache
    dgamma = np.sum(dZt * Zn, axis=1, keepdims=True)
    dbeta = np.sum(dZt, axis=1, keepdims=True)
    dZ = dZt * gamma / np.sqrt(var + eps)
    return dZ, dgamma, dbeta
