import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    """
    - x: Data of shape (N, D)
    - gamma: Scale parameter of shape (D,)
    - beta: Shift parameter of shape (D,)
    """
    eps = bn_param.get("eps", 1e-5)
    mu, var = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)
    xh = (x - mu) / np.sqrt(var + eps)
    return gamma * xh + beta, (xh, var, gamma, eps)

def batchnorm_backward(dout, cache):
    xh, var, gamma, eps = cache
    N = dout.shape[0]
    dbeta = np.sum(dout, axis=0, keepdims=True)
    dgamma = np.sum(dout * xh, axis=0, keepdims=True)
    dx = gamma / (N * np.sqrt(var + eps)) * (N * dout - dbeta - xh * dgamma)
    return dx, dgamma, dbeta
