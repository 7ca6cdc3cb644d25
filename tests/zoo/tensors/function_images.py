import torch
from torch import nn


class BatchNorm2dFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, eps, weight, bias):
        mean = x.mean(dim=(0, 2, 3), keepdim=True)
        var = x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
        inv_std = (var + eps).rsqrt()
        x_norm = (x - mean) * inv_std
        ctx.save_for_backward(x_norm, weight, inv_std)
        return x_norm * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)

    @staticmethod
    def backward(ctx, grad_out):
        x_norm, weight, inv_std = ctx.saved_tensors
        n = grad_out.numel() / grad_out.size(1)
        grad_bias = grad_out.sum(dim=(0, 2, 3))
        grad_weight = (grad_out * x_norm).sum(dim=(0, 2, 3))
        g = grad_out * weight.view(1, -1, 1, 1)
        sum_g = g.sum(dim=(0, 2, 3), keepdim=True)
        sum_gx = (g * x_norm).sum(dim=(0, 2, 3), keepdim=True)
        grad_x = inv_std * (g - sum_g / n - x_norm * sum_gx / n)
        return grad_x, None, grad_weight, grad_bias


class MyBatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.Tensor(channels).fill_(1))
        self.bias = nn.Parameter(torch.Tensor(channels).fill_(0))

    def forward(self, x):
        return BatchNorm2dFunction.apply(x, self.eps, self.weight, self.bias)
