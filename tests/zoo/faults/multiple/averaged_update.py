import numpy as np

class BatchNorm:
    def __init__(self, size, lr=0.01, eps=1e-5):
        self.gamma, self.beta, self.lr, self.eps = np.ones(size), np.zeros(size), lr, eps

    def forward(self, x):
        self.i = 1 / np.sqrt(x.var(0) + self.eps)
        self.h = (x - x.mean(0)) * self.i
        return self.gamma * self.h + self.beta

    def backward(self, d):
        dx = self.gamma * self.i * (d - d.mean(0) - self.h * (d * self.h).mean(0))
        self.gamma -= self.lr * (d * self.h).mean(0)
        self.beta -= self.lr * d.mean(0)
        return dx
