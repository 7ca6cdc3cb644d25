import numpy as np

from coursework.fast_layers import *


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def batchnorm_forward(x, gamma, beta, bn_param):
    mode, eps = bn_param["mode"], bn_param.get("eps", 1e-5)
    if mode == "test":
        s = np.sqrt(bn_param["running_var"] + eps)
        return gamma * (x - bn_param["running_mean"]) / s + beta, None
    mu = column_mean(x)
    s = np.sqrt(column_mean((x - mu) ** 2) + eps)
    z = (x - mu) / s
    return gamma * z + beta, (z, s, gamma)


def batchnorm_backward(dout, cache):
    z, s, gamma = cache
    dz = dout * gamma
    dx = (dz - column_mean(dz) - z * column_mean(dz * z)) / s
    return dx, np.sum(dout * z, axis=0), np.sum(dout, axis=0)
