from dataclasses import dataclass
import numpy as np


@dataclass
class Grads:
    dx: np.ndarray
    dgamma: np.ndarray
    dbeta: np.ndarray


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def batchnorm_backward(dout, cache):
    x_hat, std, gamma = cache
    n = dout.shape[0]
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    return Grads(dx=gamma / std * (dout - dbeta / n - x_hat * dgamma / n), dgamma=dgamma, dbeta=dbeta)
