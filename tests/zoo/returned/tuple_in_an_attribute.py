import numpy as np


class BatchNorm:
    def __init__(self, dim, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(dim), np.zeros(dim), eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.xn = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        dbeta = dout.sum(axis=0)
        dgamma = (dout * self.xn).sum(axis=0)
        self.grads = (dbeta, dgamma)
        g = dout * self.gamma
        return (g - g.mean(axis=0) - self.xn * (g * self.xn).mean(axis=0)) / self.std
