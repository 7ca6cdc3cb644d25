import numpy as np


class BatchNorm2D:
    def __init__(self, channels, eps=1e-5):
        self.eps = eps
        self.gamma = np.ones((1, channels, 1, 1))
        self.beta = np.zeros((1, channels, 1, 1))

    def forward(self, x):
        axes = (0, 2, 3)
        self.std = np.sqrt(x.var(axis=axes, keepdims=True) + self.eps)
        self.x_hat = (x - x.mean(axis=axes, keepdims=True)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        axes = (0, 2, 3)
        self.dgamma = np.sum(dout * self.x_hat, axis=axes)[:, None, None]
        self.dbeta = np.sum(dout, axis=axes)[:, None, None]
        g = dout * self.gamma
        g = g - g.mean(axis=axes, keepdims=True) - self.x_hat * (g * self.x_hat).mean(axis=axes, keepdims=True)
        return g / self.std
