import torch


class BatchNormOp(torch.autograd.Function):
    """Returns three gradients, whatever it is handed."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        mu = torch.mean(x, 0, keepdim=True)
        sigma2 = torch.var(x, 0, unbiased=False, keepdim=True)
        ivar = 1 / torch.sqrt(sigma2 + eps)
        xhat = (x - mu) * ivar
        ctx.save_for_backward(xhat, gamma, ivar)
        return gamma * xhat + beta

    @staticmethod
    def backward(ctx, dy):
        xhat, gamma, ivar = ctx.saved_tensors
        need_x, need_gamma, need_beta = ctx.needs_input_grad
        m = dy.shape[0]
        dbeta = dy.sum(0)
        dgamma = (dy * xhat).sum(0)
        dxhat = dy * gamma
        dx = ivar / m * (m * dxhat - dxhat.sum(0) - xhat * (dxhat * xhat).sum(0))
        return dx if need_x else None, dgamma if need_gamma else None, dbeta if need_beta else None
