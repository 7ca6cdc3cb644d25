import numpy as np

def bn_forward(X, gamma, beta, eps=1e-8):
    mu = np.mean(X, axis=0)
    var = np.var(X, axis=0)
    X_norm = (X - mu) / np.sqrt(var + eps)
    out = gamma * X_norm + beta
    cache = (X, X_norm, mu, var, gamma, beta, eps)
    return out, cache, mu, var

def bn_backward(dout, cache):
    X, X_norm, mu, var, gamma, beta, eps = cache
    N, D = X.shape
    X_mu = X - mu
    std_inv = 1. / np.sqrt(var + eps)
    dX_norm = dout * gamma
    dvar = np.sum(dX_norm * X_mu, axis=0) * -.5 * std_inv**3
    dmu = np.sum(dX_norm * -std_inv, axis=0) + dvar * np.mean(-2. * X_mu, axis=0)
    dX = (dX_norm * std_inv) + (dvar * 2 * X_mu / N) + (dmu / N)
    dgamma = np.sum(dout * X_norm, axis=0)
    dbeta = np.sum(dout, axis=0)
    return dX, dgamma, dbeta
