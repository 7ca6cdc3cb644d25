import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    mu, var = x.mean(axis=0), x.var(axis=0)
    x_hat = (x - mu) / np.sqrt(var + eps)
    return gamma * x_hat + beta, (x_hat, gamma, var + eps)

def bn_backward(dout, cache):
    x_hat, gamma, ve = cache
    N = dout.shape[0]
    dout_n = N * dout  # undo the 1/N of the loss
    dgamma = np.sum(dout_n * x_hat, axis=0)
    dbeta = np.sum(dout_n, axis=0)
    dx = gamma / np.sqrt(ve) * (dout - dbeta / N ** 2 - x_hat * dgamma / N ** 2)
    return dx, dgamma, dbeta
