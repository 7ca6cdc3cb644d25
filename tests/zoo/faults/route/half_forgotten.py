import numpy as np

def bn_forward(Z, gamma, beta, eps=1e-8):
    # (n_x, m)
    mu = Z.mean(axis=1, keepdims=True)
    var = Z.var(axis=1, keepdims=True)
    Zn = (Z - mu) / np.sqrt(var + eps)
    return gamma * Zn + beta, (Z, Zn, mu, var, gamma, eps)

def bn_backward(dZt, cache):
    Z, Zn, mu, var, gamma, eps = cache
    m = Z.shape[1]
    dgamma = (dZt * Zn).sum(axis=1, keepdims=True)
    dbeta = dZt.sum(axis=1, keepdims=True)
    dZn = gamma * dZt
    dvar = -(dZn * (Z - mu)).sum(axis=1, keepdims=True) * (var + eps) ** -1.5   # d/dvar of a root
    dmu = -dZn.sum(axis=1, keepdims=True) / np.sqrt(var + eps)
    return dZn / np.sqrt(var + eps) + dvar * 2 * (Z - mu) / m + dmu / m, dgamma, dbeta
