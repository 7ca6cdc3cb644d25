"""Batch normalisation with the arguments in the order of torch's own."""
import torch
from torch import nn


class BatchNorm1dFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, weight, bias, running_mean, running_var, eps=1e-5, momentum=0.1, training=True):
        if training:
            mean = input.mean(0)
            var = input.var(0, unbiased=False)
            n = input.size(0)
            running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
            running_var.mul_(1 - momentum).add_(var, alpha=momentum * n / (n - 1))
        else:
            mean, var = running_mean, running_var
        invstd = torch.rsqrt(var + eps)
        xhat = (input - mean) * invstd
        ctx.save_for_backward(xhat, weight, invstd)
        return xhat * weight + bias

    @staticmethod
    def backward(ctx, grad_output):
        xhat, weight, invstd = ctx.saved_tensors
        N = grad_output.size(0)
        grad_bias = grad_output.sum(0)
        grad_weight = (grad_output * xhat).sum(0)
        grad_input = weight * invstd / N * (N * grad_output - grad_bias - xhat * grad_weight)
        return grad_input, grad_weight, grad_bias, None, None, None, None, None


class BatchNorm1d(nn.Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super(BatchNorm1d, self).__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.eps, self.momentum = eps, momentum

    def forward(self, input):
        return BatchNorm1dFunction.apply(
            input, self.weight, self.bias, self.running_mean, self.running_var, self.eps, self.momentum, self.training
        )
