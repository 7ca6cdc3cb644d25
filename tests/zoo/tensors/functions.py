import torch


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    n = x.shape[0]
    mu = 1 / n * x.sum(0, keepdim=True)
    xmu = x - mu
    var = 1 / n * (xmu**2).sum(0, keepdim=True)
    ivar = (var + eps) ** -0.5
    xhat = xmu * ivar
    return gamma * xhat + beta, (xhat, gamma, xmu, ivar)


def batchnorm_backward(dout, cache):
    xhat, gamma, xmu, ivar = cache
    n, d = dout.shape
    dbeta = dout.sum(0)
    dgamma = (dout * xhat).sum(0)
    dxhat = dout * gamma
    dvar = (dxhat * xmu).sum(0) * -0.5 * ivar**3
    dxmu = dxhat * ivar + 2 / n * xmu * dvar
    dx = dxmu - dxmu.sum(0) / n
    return dx, dgamma, dbeta
