import numpy as np

params, caches, grads = {}, {}, {}


def init_bn(name, dim):
    params[name + "/scale"] = np.ones((1, dim))
    params[name + "/shift"] = np.zeros((1, dim))


def bn(name, x):
    sd = np.sqrt(x.var(0, keepdims=True) + 1e-5)
    xn = (x - x.mean(0, keepdims=True)) / sd
    caches[name] = xn, sd
    return params[name + "/scale"] * xn + params[name + "/shift"]


def bn_backward(name, dout):
    xn, sd = caches[name]
    grads[name + "/scale"] = (dout * xn).sum(0, keepdims=True)
    grads[name + "/shift"] = dout.sum(0, keepdims=True)
    d = dout * params[name + "/scale"]
    return (d - d.mean(0) - xn * (d * xn).mean(0)) / sd
