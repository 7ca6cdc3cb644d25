import numpy as np


def batch_norm_fwd(x, gamma, beta, eps=1e-5):
    mean = x.mean(0)
    inv_std = (x.var(0) + eps) ** -0.5
    x_hat = (x - mean) * inv_std
    return gamma * x_hat + beta, dict(x_hat=x_hat, inv_std=inv_std, gamma=gamma)


def batch_norm_bwd(cache, dout):
    x_hat, inv_std, gamma = cache["x_hat"], cache["inv_std"], cache["gamma"]
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    dx = gamma * inv_std * (dout - dbeta / len(dout) - x_hat * dgamma / len(dout))
    return dx, dgamma, dbeta
