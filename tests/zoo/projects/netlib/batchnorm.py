import numpy as np

from .base import Layer


class BatchNorm(Layer):
    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.params["gamma"] = np.ones(dim)
        self.params["beta"] = np.zeros(dim)

    def forward(self, x):
        self.rstd = (x.var(axis=0) + self.eps) ** -0.5
        self.xhat = (x - x.mean(axis=0)) * self.rstd
        return self.params["gamma"] * self.xhat + self.params["beta"]

    def backward(self, dout):
        self.grads["gamma"] = (dout * self.xhat).sum(axis=0)
        self.grads["beta"] = dout.sum(axis=0)
        m = dout.shape[0]
        return self.params["gamma"] * self.rstd * (dout - (self.grads["beta"] + self.xhat * self.grads["gamma"]) / m)
