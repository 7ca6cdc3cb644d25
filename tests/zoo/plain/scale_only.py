import numpy as np

class BatchNorm:
    """no beta: a layer with a bias comes next"""
    def __init__(self, width, eps=1e-5):
        self.gamma = np.ones(width)
        self.eps = eps

    def forward(self, x):
        self.inv = 1.0 / np.sqrt(np.var(x, axis=0) + self.eps)
        self.x_hat = (x - np.mean(x, axis=0)) * self.inv
        return self.x_hat * self.gamma

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.x_hat, axis=0)
        dx_hat = dout * self.gamma
        return self.inv * (dx_hat - dx_hat.mean(axis=0) - self.x_hat * np.mean(dx_hat * self.x_hat, axis=0))
