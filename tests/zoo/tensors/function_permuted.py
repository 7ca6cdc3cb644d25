import torch


class SpatialBatchNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, running_mean, running_var, gamma, beta, training, momentum, eps):
        n, c, h, w = input.shape
        flat = input.permute(0, 2, 3, 1).reshape(-1, c)
        if training:
            mu = flat.mean(0)
            var = flat.var(0, unbiased=False)
        else:
            mu, var = running_mean, running_var
        std = torch.sqrt(var + eps)
        normed = (flat - mu) / std
        ctx.save_for_backward(normed, gamma, std)
        ctx.shape = input.shape
        out = normed * gamma + beta
        return out.reshape(n, h, w, c).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, grad_output):
        normed, gamma, std = ctx.saved_tensors
        n, c, h, w = ctx.shape
        grad = grad_output.permute(0, 2, 3, 1).reshape(-1, c)
        m = grad.shape[0]
        dbeta = grad.sum(0)
        dgamma = (grad * normed).sum(0)
        dnormed = grad * gamma
        dflat = (dnormed - dnormed.mean(0) - normed * (dnormed * normed).mean(0)) / std
        dx = dflat.reshape(n, h, w, c).permute(0, 3, 1, 2)
        return dx, None, None, dgamma, dbeta, None, None, None
