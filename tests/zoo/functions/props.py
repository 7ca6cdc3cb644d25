import numpy as np
import time

EPSILON = 1e-5

def forward_prop(Z, gamma, beta):
    # batch norm over the rows
    mu = np.mean(Z, axis=0, keepdims=True)
    sigma2 = np.var(Z, axis=0, keepdims=True)
    Z_norm = (Z - mu) / np.sqrt(sigma2 + EPSILON)
    Z_tilde = gamma * Z_norm + beta
    return Z_tilde, (Z, Z_norm, mu, sigma2, gamma)

def back_prop(dZ_tilde, cache):
    Z, Z_norm, mu, sigma2, gamma = cache
    m = Z.shape[0]
    t = np.sqrt(sigma2 + EPSILON)
    dgamma = np.sum(dZ_tilde * Z_norm, axis=0)
    dbeta = np.sum(dZ_tilde, axis=0)
    dZ = (gamma / (m * t)) * (m * dZ_tilde - dbeta - (Z - mu) / t ** 2 * np.sum(dZ_tilde * (Z - mu), axis=0))
    return dZ, dgamma, dbeta
