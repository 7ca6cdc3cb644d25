import numpy as np

running = None
steps = 0

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    global running, steps
    mu, var = x.mean(axis=0), x.var(axis=0)
    if running is None:
        running = [np.zeros_like(mu), np.ones_like(var)]
    running[0] = 0.9 * running[0] + 0.1 * mu
    running[1] = 0.9 * running[1] + 0.1 * var
    steps += 1
    x_hat = (x - mu) / np.sqrt(var + eps)
    return gamma * x_hat + beta, (x_hat, var, gamma, eps)

def batchnorm_backward(dout, cache):
    x_hat, var, gamma, eps = cache
    N = dout.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * x_hat).sum(axis=0)
    dx = gamma / np.sqrt(var + eps) / N * (N * dout - dbeta - x_hat * dgamma)
    return dx, dgamma, dbeta
