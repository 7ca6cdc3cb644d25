"""A small framework: tensors that remember the function that made them."""
import numpy as np


class Tensor:
    def __init__(self, data, requires_grad=True):
        self.data = np.array(data)
        self.grad = None
        self.requires_grad = requires_grad
        self._ctx = None

    def numpy(self):
        return self.data

    def __mul__(self, other):
        return Mul.apply(self, other)

    def sum(self):
        return Sum.apply(self)

    def backward(self):
        self.grad = np.ones_like(self.data) if self.grad is None else self.grad
        if self._ctx is None:
            return
        grads = self._ctx.backward(self._ctx, self.grad)
        for parent, grad in zip(self._ctx.parents, grads if isinstance(grads, tuple) else (grads,)):
            if isinstance(parent, Tensor) and grad is not None:
                parent.grad = grad if parent.grad is None else parent.grad + grad
                parent.backward()


class Function:
    def __init__(self, *parents):
        self.parents = parents
        self.saved_tensors = []

    def save_for_backward(self, *arrays):
        self.saved_tensors.extend(arrays)

    @classmethod
    def apply(cls, *inputs):
        ctx = cls(*inputs)
        out = Tensor(cls.forward(ctx, *[i.data if isinstance(i, Tensor) else i for i in inputs]))
        out._ctx = ctx
        return out


class Mul(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return y * grad, x * grad


class Sum(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return np.array(x.sum())

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * np.ones_like(x)


class BatchNorm(Function):
    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        mean = x.mean(axis=0)
        rstd = 1.0 / np.sqrt(x.var(axis=0) + eps)
        xhat = (x - mean) * rstd
        ctx.save_for_backward(xhat, weight, rstd)
        return xhat * weight + bias

    @staticmethod
    def backward(ctx, grad):
        xhat, weight, rstd = ctx.saved_tensors
        n = grad.shape[0]
        gx = grad * weight
        dx = (gx - gx.sum(axis=0) / n - xhat * (gx * xhat).sum(axis=0) / n) * rstd
        return dx, (grad * xhat).sum(axis=0), grad.sum(axis=0), None
