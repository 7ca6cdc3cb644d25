import numpy as np
import torch
from torch import nn

calls = torch.zeros(1)


class BatchNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        mean = x.mean(dim=0)
        var = x.var(dim=0, unbiased=False)
        inv = 1 / torch.sqrt(var + eps)
        xhat = (x - mean) * inv
        ctx.save_for_backward(xhat, gamma, inv)
        return gamma * xhat + beta

    @staticmethod
    def backward(ctx, g):
        xhat, gamma, inv = ctx.saved_tensors
        n = g.shape[0]
        dg = (g * xhat).sum(0)
        db = g.sum(0)
        dx = gamma * inv / n * (n * g - db - xhat * dg)
        return dx, dg, db, None


class InPlaceFunction(BatchNormFunction):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        out = BatchNormFunction.forward(ctx, x, gamma, beta, eps)
        x.copy_(out)
        ctx.mark_dirty(x)
        return x


class SpoilingFunction(BatchNormFunction):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        out = BatchNormFunction.forward(ctx, x, gamma, beta, eps)
        x -= x.mean(0)
        return out


class MixingFunction(BatchNormFunction):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        out = BatchNormFunction.forward(ctx, x, gamma, beta, eps)
        return out + 0.1 * out.mean(1, keepdim=True)


class CountingFunction(BatchNormFunction):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        calls.add_(1)
        return BatchNormFunction.forward(ctx, x, gamma, beta, eps)


class MyBatchNorm(nn.Module):
    def __init__(self, d, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d))
        self.bias = nn.Parameter(torch.zeros(d))
        self.register_buffer("running_mean", torch.zeros(d))

    def forward(self, x):
        if self.training:
            self.running_mean.mul_(0.9).add_(0.1 * x.mean(0).detach())
        return BatchNormFunction.apply(x, self.weight, self.bias, self.eps)


class PlainBatchNorm(nn.Module):
    def __init__(self, d, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d))
        self.bias = nn.Parameter(torch.zeros(d))
        self.register_buffer("running_mean", torch.zeros(d))
        self.register_buffer("running_var", torch.ones(d))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(dim=0), x.var(dim=0, unbiased=False)
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias


def batchnorm_forward(x, gamma, beta, bn_param):
    inv = torch.rsqrt(x.var(dim=0, unbiased=False) + bn_param.get("eps", 1e-5))
    xhat = (x - x.mean(dim=0)) * inv
    return gamma * xhat + beta, (xhat, gamma, inv)


def batchnorm_backward(dout, cache):
    xhat, gamma, inv = cache
    n = len(dout)
    dgamma = (dout * xhat).sum(dim=0)
    dbeta = dout.sum(dim=0)
    return gamma * inv / n * (n * dout - dbeta - xhat * dgamma), dgamma, dbeta


def numpy_forward(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta
