import numpy as np


class BatchNorm:
    def __init__(self, size, eps=1e-5):
        self.gamma = np.ones(size)
        self.beta = np.zeros(size)
        self.eps = eps

    def forward(self, X):
        self.sigma = np.sqrt(X.var(axis=0) + self.eps)
        self.norm = (X - X.mean(axis=0)) / self.sigma
        return self.gamma * self.norm + self.beta

    def backward(self, dY):
        m = dY.shape[0]
        self.dgamma = np.sum(dY * self.norm, axis=0) / m
        self.dbeta = np.sum(dY, axis=0, keepdims=True) / m
        d = dY * self.gamma
        return (d - np.mean(d, axis=0) - self.norm * np.mean(d * self.norm, axis=0)) / self.sigma
