import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    # gamma, beta: (1, D)
    mu = x.mean(axis=0, keepdims=True)
    v = ((x - mu)**2).mean(axis=0, keepdims=True)
    istd = 1 / np.sqrt(v + eps)
    xn = (x - mu) * istd
    return xn @ np.diag(gamma[0]) + beta, (xn, istd, gamma)

def batchnorm_backward(dout, cache):
    xn, istd, gamma = cache
    n = dout.shape[0]
    ones = np.ones((n, 1))
    dbeta = ones.T @ dout
    dgamma = ones.T @ (dout * xn)
    dxn = dout * gamma
    # projection onto the complement of (1, xn), column by column
    dx = istd * (dxn - ones @ (ones.T @ dxn) / n - xn * (ones.T @ (dxn * xn)) / n)
    return dx, dgamma, dbeta
