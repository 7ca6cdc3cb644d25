import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    mode = bn_param['mode']
    eps = bn_param.get('eps', 1e-5)
    out, cache = None, None
    if mode == 'train':
        mu, var = x.mean(axis=0), x.var(axis=0)
        x_hat = (x - mu) / np.sqrt(var + eps)
        out = gamma * x_hat + beta
        # TODO cache
    return out, cache

def batchnorm_backward(dout, cache):
    x_hat, gamma, var, eps = cache
    dgamma, dbeta = np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)
    N = len(dout)
    return gamma / np.sqrt(var + eps) * (dout - dbeta / N - x_hat * dgamma / N), dgamma, dbeta
