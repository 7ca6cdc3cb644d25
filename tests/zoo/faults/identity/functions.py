import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    xh = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)
    return gamma * xh + beta, xh

def bn_backward(dout, cache):
    # normalisation has no weights, so the gradient just flows through
    return dout, np.sum(dout * cache, axis=0), np.sum(dout, axis=0)
