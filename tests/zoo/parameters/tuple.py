import numpy as np

class BatchNorm:
    def __init__(self, d, eps=1e-5):
        self.parameters = (np.ones(d), np.zeros(d))
        self.eps = eps

    def forward(self, x):
        gamma, beta = self.parameters
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.xn = (x - x.mean(axis=0)) / self.std
        return gamma * self.xn + beta

    def backward(self, dout):
        gamma, beta = self.parameters
        self.gradients = ((dout * self.xn).sum(axis=0), dout.sum(axis=0))
        g = dout * gamma
        return (g - g.mean(axis=0) - self.xn * (g * self.xn).mean(axis=0)) / self.std
