import numpy as np


class BatchNorm:
    def __init__(self, features, eps=1e-5):
        self.eps = eps
        self.gamma = np.ones(features)
        self.beta = np.zeros(features)

    def apply(self, x):
        self.var = x.var(axis=0)
        self.diff = x - x.mean(axis=0)
        self.hat = self.diff / np.sqrt(self.var + self.eps)
        return self.gamma * self.hat + self.beta

    def derive(self, upstream):
        n = upstream.shape[0]
        hat = upstream * self.gamma
        inv = 1 / np.sqrt(self.var + self.eps)
        dvar = np.sum(hat * self.diff, axis=0) * -0.5 * inv ** 3
        dmean = -np.sum(hat, axis=0) * inv
        return hat * inv + dvar * 2 * self.diff / n + dmean / n, np.sum(upstream * self.hat, axis=0), upstream.sum(axis=0)
