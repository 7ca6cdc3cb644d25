import numpy as np

class BatchNormalization:
    def __init__(self, channels, eps=1e-3):
        self.gamma, self.beta, self.eps = np.ones(channels), np.zeros(channels), eps

    def forward(self, x):
        self.s = np.sqrt(x.var(axis=(0, 1, 2)) + self.eps)
        self.h = (x - x.mean(axis=(0, 1, 2))) / self.s
        return self.gamma * self.h + self.beta

    def backward(self, d):
        return d * self.gamma / self.s, (d * self.h).sum(axis=(0, 1, 2)), d.sum(axis=(0, 1, 2))
