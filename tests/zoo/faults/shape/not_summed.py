import numpy as np

def batch_norm_forward(x, gamma, beta, eps=1e-5):
    sd = np.sqrt(x.var(0) + eps)
    xh = (x - x.mean(0)) / sd
    return gamma * xh + beta, (xh, sd, gamma)

def batch_norm_backward(dout, cache):
    xh, sd, gamma = cache
    dx = gamma / sd * (dout - dout.mean(0) - xh * (dout * xh).mean(0))
    dgamma = dout * xh
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta
