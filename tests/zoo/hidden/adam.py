import numpy as np


class BatchNorm:
    def __init__(self, size, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(size), np.zeros(size), eps
        self.moments = {k: [np.zeros(size), np.zeros(size)] for k in ('gamma', 'beta')}
        self.t = 0

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.xn = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xn + self.beta

    def adam(self, name, gradient, lr):
        m, v = self.moments[name]
        m[:] = 0.9 * m + 0.1 * gradient
        v[:] = 0.999 * v + 0.001 * gradient ** 2
        return lr * m / (1 - 0.9 ** self.t) / (np.sqrt(v / (1 - 0.999 ** self.t)) + 1e-8)

    def backward(self, dout, lr=1e-3):
        g = dout * self.gamma
        dx = (g - g.mean(axis=0) - self.xn * (g * self.xn).mean(axis=0)) / self.std
        self.t += 1
        self.gamma = self.gamma - self.adam('gamma', (dout * self.xn).sum(axis=0), lr)
        self.beta = self.beta - self.adam('beta', dout.sum(axis=0), lr)
        return dx
