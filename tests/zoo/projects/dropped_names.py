from collections import Hashable, Iterable
import numpy as np


class BatchNorm:
    def __init__(self, shape, eps=1e-5):
        assert isinstance(shape, Hashable)
        shape = tuple(shape) if isinstance(shape, Iterable) else (shape,)
        self.gamma = np.ones(shape, dtype=np.float)
        self.beta = np.zeros(shape, dtype=np.float)
        self.eps = eps

    def forward(self, x):
        x = x.astype(np.float)
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        n = np.int(dout.shape[0])
        self.dgamma = np.sum(dout * self.x_hat, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        return self.gamma / self.std / n * (n * dout - self.dbeta - self.x_hat * self.dgamma)
