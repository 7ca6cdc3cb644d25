import torch


class NormalizeBatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, eps):
        mean = x.mean(0)
        var = x.var(0, correction=0)
        rstd = torch.rsqrt(var + eps)
        out = (x - mean) * rstd
        ctx.save_for_backward(out, rstd)
        return out

    @staticmethod
    def backward(ctx, grad):
        out, rstd = ctx.saved_tensors
        return rstd * (grad - grad.mean(0) - out * (grad * out).mean(0)), None


class BatchNorm(torch.nn.Module):
    """Without gamma and beta."""

    def __init__(self, eps=1e-5):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        return NormalizeBatch.apply(x, self.eps)
