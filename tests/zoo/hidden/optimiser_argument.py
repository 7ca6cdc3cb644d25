import numpy as np


class SGD:
    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, param, grad):
        param -= self.lr * grad


class BatchNorm:
    def __init__(self, dim, optimizer, eps=1e-5):
        self.optimizer = optimizer
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)
        self.eps = eps

    def forward(self, x):
        self.mean, self.var = x.mean(axis=0), x.var(axis=0)
        self.x_hat = (x - self.mean) / np.sqrt(self.var + self.eps)
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        dx_hat = dout * self.gamma
        n = dout.shape[0]
        dx = (n * dx_hat - dx_hat.sum(axis=0) - self.x_hat * (dx_hat * self.x_hat).sum(axis=0))
        dx = dx / n / np.sqrt(self.var + self.eps)
        self.optimizer.update(self.gamma, (dout * self.x_hat).sum(axis=0))
        self.optimizer.update(self.beta, dout.sum(axis=0))
        return dx
