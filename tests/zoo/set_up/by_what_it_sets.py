import numpy as np


class BatchNorm:
    def __init__(self, channel):
        self.channel = channel

    def setting(self):
        self.gamma = np.ones(self.channel)
        self.beta = np.zeros(self.channel)

    def forward(self, x):
        self.sd = np.sqrt(x.var(axis=0) + 1e-8)
        self.xb = (x - x.mean(axis=0)) / self.sd
        return self.gamma * self.xb + self.beta

    def backward(self, x):
        self.d_gamma = np.sum(x * self.xb, axis=0)
        self.d_beta = np.sum(x, axis=0)
        d = x * self.gamma
        return (d - d.mean(axis=0) - self.xb * (d * self.xb).mean(axis=0)) / self.sd
