import numpy as np


def bn_forward(x, gamma, beta, eps=1e-5):
    istd = 1 / np.sqrt(x.var(axis=0) + eps)
    xhat = (x - x.mean(axis=0)) * istd
    return gamma * xhat + beta, {"xhat": xhat, "istd": istd, "gamma": gamma}


def bn_backward(dout, cache):
    xhat, m = cache["xhat"], dout.shape[0]
    grads = {"dbeta": dout.sum(axis=0), "dgamma": (dout * xhat).sum(axis=0)}
    grads["dx"] = cache["gamma"] * cache["istd"] / m * (m * dout - grads["dbeta"] - xhat * grads["dgamma"])
    return grads
