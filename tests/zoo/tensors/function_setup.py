import torch


class BatchNormalization(torch.autograd.Function):
    @staticmethod
    def forward(x, scale, shift, epsilon):
        mean = x.mean(0)
        inv = (x.var(0, unbiased=False) + epsilon) ** -0.5
        return (x - mean) * inv * scale + shift, mean, inv

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, scale, shift, epsilon = inputs
        _, mean, inv = output
        ctx.save_for_backward(x, scale, mean, inv)
        ctx.mark_non_differentiable(mean, inv)

    @staticmethod
    def backward(ctx, grad, grad_mean, grad_inv):
        x, scale, mean, inv = ctx.saved_tensors
        n = len(x)
        centered = x - mean
        d_shift = grad.sum(0)
        d_scale = (grad * centered * inv).sum(0)
        g = grad * scale * inv
        d_x = g - g.sum(0) / n - centered * inv**2 * (g * centered).sum(0) / n
        return d_x, d_scale, d_shift, None
