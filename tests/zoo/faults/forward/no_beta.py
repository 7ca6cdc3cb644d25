import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    s = np.sqrt(x.var(axis=0) + eps)
    h = (x - x.mean(axis=0)) / s
    out = gamma * h
    out + beta  # += was meant
    return out, (h, s, gamma)

def batchnorm_backward(dout, cache):
    h, s, gamma = cache
    n = dout.shape[0]
    dgamma, dbeta = (dout * h).sum(axis=0), dout.sum(axis=0)
    return gamma / s * (dout - dbeta / n - h * dgamma / n), dgamma, dbeta
