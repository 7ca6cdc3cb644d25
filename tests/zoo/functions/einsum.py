import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    if bn_param["mode"] != "train":
        inv = 1.0 / np.sqrt(bn_param["running_var"] + eps)
        return np.einsum("nd,d->nd", x - bn_param["running_mean"], gamma * inv) + beta, None
    n = x.shape[0]
    mu = np.einsum("nd->d", x) / n
    xc = x - mu
    var = np.einsum("nd,nd->d", xc, xc) / n
    inv = 1.0 / np.sqrt(var + eps)
    xhat = np.einsum("nd,d->nd", xc, inv)
    momentum = bn_param.get("momentum", 0.9)
    bn_param["running_mean"] = momentum * bn_param.get("running_mean", np.zeros_like(mu)) + (1 - momentum) * mu
    bn_param["running_var"] = momentum * bn_param.get("running_var", np.ones_like(mu)) + (1 - momentum) * var
    return np.einsum("nd,d->nd", xhat, gamma) + beta, (xhat, inv, gamma)


def batchnorm_backward(dout, cache):
    xhat, inv, gamma = cache
    n = dout.shape[0]
    dbeta = np.einsum("nd->d", dout)
    dgamma = np.einsum("nd,nd->d", dout, xhat)
    dxhat = np.einsum("nd,d->nd", dout, gamma)
    proj = np.einsum("nd,nd->d", dxhat, xhat)
    dx = np.einsum("d,nd->nd", inv / n, n * dxhat - dxhat.sum(0) - np.einsum("d,nd->nd", proj, xhat))
    return dx, dgamma, dbeta
