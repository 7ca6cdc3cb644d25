import numpy as np

saved = {}

def bn_forward(x, gamma, beta, eps=1e-5):
    saved['std'] = np.sqrt(x.var(axis=0) + eps)
    saved['x_hat'] = (x - x.mean(axis=0)) / saved['std']
    saved['gamma'] = gamma
    return gamma * saved['x_hat'] + beta

def bn_backward(dout):
    x_hat, std, gamma = saved['x_hat'], saved['std'], saved['gamma']
    n = len(dout)
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    dx = gamma / std * (dout - dbeta / n - x_hat * dgamma / n)
    return dx, dgamma, dbeta
