import numpy as np


class BatchNorm:
    """Builds itself when it sees the first batch."""

    def __init__(self, eps=1e-5):
        self.eps = eps
        self.gamma = None
        self.beta = None

    def forward(self, x):
        if self.gamma is None:
            self.gamma = np.ones(x.shape[1])
        if self.beta is None:
            self.beta = np.zeros(x.shape[1])
        self.x_hat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + self.eps)
        self.ivar = 1 / np.sqrt(x.var(axis=0) + self.eps)
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(self.x_hat * dout, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        dxh = dout * self.gamma
        return self.ivar * (dxh - np.mean(dxh, axis=0) - self.x_hat * np.mean(dxh * self.x_hat, axis=0))
