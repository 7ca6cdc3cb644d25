import numpy as np


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    """swap axes, flatten, normalise, swap back"""
    eps = bn_param.get('eps', 1e-5)
    N, C, H, W = x.shape
    xr = np.swapaxes(x, 0, 1).reshape(C, -1)
    if bn_param['mode'] == 'train':
        mu = xr.mean(1)[:, np.newaxis]
        s = np.sqrt(xr.var(1) + eps)[:, np.newaxis]
    else:
        mu, s = bn_param['running_mean'][:, None], np.sqrt(bn_param['running_var'] + eps)[:, None]
    h = (xr - mu) / s
    out = gamma[:, np.newaxis] * h + beta[:, np.newaxis]
    return np.swapaxes(out.reshape(C, N, H, W), 0, 1), (h, s, gamma)


def spatial_batchnorm_backward(dout, cache):
    h, s, gamma = cache
    N, C, H, W = dout.shape
    d = np.swapaxes(dout, 0, 1).reshape(C, -1)
    M = d.shape[1]
    dbeta = d.sum(1)
    dgamma = (d * h).sum(1)
    dx = gamma[:, None] / s * (d - (dbeta[:, None] + h * dgamma[:, None]) / M)
    return np.swapaxes(dx.reshape(C, N, H, W), 0, 1), dgamma, dbeta
