import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    """
    - x: (N, D)
    - gamma: scale parameter of shape (D,)
    - beta: shift parameter of shape (D,)
    """
    eps = bn_param.get('eps', 1e-5)
    mu, var = x.mean(axis=0), x.var(axis=0)
    xhat = (x - mu) / np.sqrt(var + eps)
    return gamma * xhat + beta, (xhat, var, gamma, eps)

def batchnorm_backward(dout, cache):
    xhat, var, gamma, eps = cache
    N = dout.shape[0]
    dgamma = N * np.sum(dout * xhat, axis=0, keepdims=True)
    dbeta = np.sum(dout, axis=0)
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0)) / np.sqrt(var + eps)
    return dx, dgamma, dbeta
