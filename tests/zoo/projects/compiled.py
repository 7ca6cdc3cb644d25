import numpy as np
from numba import njit, prange


@njit(parallel=True, cache=True)
def bn_forward(x, gamma, beta, eps=1e-5):
    n, d = x.shape
    out = np.empty_like(x)
    xhat = np.empty_like(x)
    inv = np.empty_like(gamma)
    for j in range(d):
        m = x[:, j].mean()
        inv[j] = 1.0 / np.sqrt(((x[:, j] - m) ** 2).mean() + eps)
        xhat[:, j] = (x[:, j] - m) * inv[j]
        out[:, j] = gamma[j] * xhat[:, j] + beta[j]
    return out, (xhat, inv, gamma)


@njit
def bn_backward(dout, cache):
    xhat, inv, gamma = cache
    n, d = dout.shape
    dx = np.empty_like(dout)
    dgamma = np.empty_like(gamma)
    dbeta = np.empty_like(gamma)
    for j in range(d):
        dgamma[j] = (dout[:, j] * xhat[:, j]).sum()
        dbeta[j] = dout[:, j].sum()
        dx[:, j] = gamma[j] * inv[j] * (dout[:, j] - dbeta[j] / n - xhat[:, j] * dgamma[j] / n)
    return dx, dgamma, dbeta
