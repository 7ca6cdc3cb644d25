import numpy as np


def batchnorm(x, gamma, beta, eps=1e-5):
    istd = (x.var(0) + eps) ** -0.5
    xhat = (x - x.mean(0)) * istd

    def back(dy):
        dgamma = (dy * xhat).sum(0)
        dbeta = dy.sum(0)
        dxhat = dy * gamma
        dx = istd * (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0))
        return dx, dgamma, dbeta

    return xhat * gamma + beta, back
