import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    g, b = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)
    s = np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + eps)
    h = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / s
    return g * h + b, (h, s, g)

def batchnorm_backward(dout, cache):
    h, s, g = cache
    N = dout.shape[0]
    dgamma, dbeta = (dout * h).sum(axis=(0, 2, 3)), dout.sum(axis=(0, 2, 3))
    dx = g / (N * s) * (N * dout - dbeta.reshape(1, -1, 1, 1) - h * dgamma.reshape(1, -1, 1, 1))
    return dx, dgamma, dbeta
