import numpy as np


class BatchNormLayer:
    def __init__(self, size, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(size), np.zeros(size), eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.x_hat * self.gamma - self.beta

    def backward(self, delta):
        self.dgamma = np.sum(delta * self.x_hat, axis=0)
        self.dbeta = np.sum(delta, axis=0)
        d = delta * self.gamma
        return (d - d.mean(axis=0) - self.x_hat * (d * self.x_hat).mean(axis=0)) / self.std
