import numpy as np


class Context:
    def save_for_backward(self, *tensors):
        self.saved_tensors = tensors


class BatchNormFunction:
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        rstd = 1 / np.sqrt(x.var(axis=0) + eps)
        xhat = (x - x.mean(axis=0)) * rstd
        ctx.save_for_backward(xhat, rstd, gamma)
        return gamma * xhat + beta

    @staticmethod
    def backward(ctx, grad):
        xhat, rstd, gamma = ctx.saved_tensors
        ggamma, gbeta = (grad * xhat).sum(axis=0), grad.sum(axis=0)
        gx = gamma * rstd * (grad - gbeta / len(grad) - xhat * ggamma / len(grad))
        return gx, ggamma, gbeta, None
