from builtins import range  # py2 leftovers
import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    mode = bn_param['mode']
    eps = bn_param.get('eps', 1e-5)
    momentum = bn_param.get('momentum', 0.9)
    N, D = x.shape
    running_mean = bn_param.get('running_mean', np.zeros(D, dtype=x.dtype))
    running_var = bn_param.get('running_var', np.zeros(D, dtype=x.dtype))
    if mode == 'train':
        sample_mean = x.mean(axis=0)
        sample_var = x.var(axis=0)
        x_norm = (x - sample_mean) / np.sqrt(sample_var + eps)
        out = x_norm * gamma + beta
        cache = {'x': x, 'x_norm': x_norm, 'mean': sample_mean, 'var': sample_var, 'gamma': gamma, 'eps': eps}
        running_mean = momentum * running_mean + (1 - momentum) * sample_mean
        running_var = momentum * running_var + (1 - momentum) * sample_var
    else:
        out = gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta
        cache = None
    bn_param['running_mean'] = running_mean
    bn_param['running_var'] = running_var
    return out, cache


def batchnorm_backward(dout, cache):
    x, x_norm, mean, var = cache['x'], cache['x_norm'], cache['mean'], cache['var']
    m = x.shape[0]
    dx_norm = dout * cache['gamma']
    # the three formulas of the paper
    dvar = np.sum(dx_norm * (x - mean) * -0.5 * (var + cache['eps']) ** (-1.5), axis=0)
    dmean = np.sum(dx_norm * -1 / np.sqrt(var + cache['eps']), axis=0) + dvar * np.sum(-2 * (x - mean), axis=0) / m
    dx = dx_norm / np.sqrt(var + cache['eps']) + dvar * 2 * (x - mean) / m + dmean / m
    dgamma = np.sum(dout * x_norm, axis=0)
    dbeta = np.sum(dout, axis=0)
    return dx, dgamma, dbeta
