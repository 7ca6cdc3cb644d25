import numpy as np


def batch_norm_forward(X, gamma, beta, epsilon=1e-5):
    """
    Returns
    -------
    Y, cache
    """
    n, d = X.shape
    Y = np.empty_like(X)
    H = np.empty_like(X)
    S = np.empty(d)
    for j in range(d):
        col = X[:, j]
        S[j] = np.sqrt(np.var(col) + epsilon)
        H[:, j] = (col - np.mean(col)) / S[j]
        Y[:, j] = gamma[j] * H[:, j] + beta[j]
    return Y, (H, S, gamma)


def batch_norm_backward(dY, cache):
    """
    Backward pass, one feature at a time.

    Returns
    -------
    dX : (n, d)
    dbeta : (d,)
    dgamma : (d,)
    """
    H, S, gamma = cache
    n, d = dY.shape
    a = np.empty_like(dY)
    b, c = np.zeros(d), np.zeros(d)
    for j in range(d):
        for i in range(n):
            b[j] += dY[i, j]
            c[j] += dY[i, j] * H[i, j]
        a[:, j] = gamma[j] / S[j] * (dY[:, j] - b[j] / n - H[:, j] * c[j] / n)
    return a, b, c
