import numpy as np

class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones((n, 1)), np.zeros((n, 1)), eps

    def forward(self, Z):
        self.sd = np.sqrt(Z.var(axis=1, keepdims=True) + self.eps)
        self.Zn = (Z - Z.mean(axis=1, keepdims=True)) / self.sd
        return self.gamma * self.Zn + self.beta

    def backward(self, dZ):
        self.dgamma = np.sum(dZ * self.Zn, axis=1)
        self.dbeta = np.sum(dZ, axis=1)
        g = dZ * self.gamma
        return (g - g.mean(axis=1, keepdims=True) - self.Zn * (g * self.Zn).mean(axis=1, keepdims=True)) / self.sd
