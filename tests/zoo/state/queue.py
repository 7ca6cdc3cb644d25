import numpy as np


class BatchNorm:
    """Inputs are queued until update(), for gradient accumulation over several batches."""

    def __init__(self, dim, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(dim), np.zeros(dim), eps
        self.queue = []

    def forward(self, x):
        std = np.sqrt(x.var(axis=0) + self.eps)
        self.queue.append(((x - x.mean(axis=0)) / std, std))
        return self.gamma * self.queue[-1][0] + self.beta

    def backward(self, dout):
        x_hat, std = self.queue[0]
        self.dgamma = np.sum(dout * x_hat, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        g = dout * self.gamma
        return (g - g.mean(axis=0) - x_hat * np.mean(g * x_hat, axis=0)) / std

    def update(self, rate=0.1):
        self.gamma -= rate * self.dgamma
        self.beta -= rate * self.dbeta
        self.queue = []
