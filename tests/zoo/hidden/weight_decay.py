import numpy as np


class BatchNorm:
    def __init__(self, size, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(size), np.zeros(size), eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.xn = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xn + self.beta

    def backward(self, dout, lr):
        g = dout * self.gamma
        dx = (g - g.mean(axis=0) - self.xn * (g * self.xn).mean(axis=0)) / self.std
        self.gamma -= lr * ((dout * self.xn).sum(axis=0) + 1e-4 * self.gamma)
        self.beta -= lr * dout.sum(axis=0)
        return dx
