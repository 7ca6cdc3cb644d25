import numpy as np


class BatchNorm:
    def __init__(self, features, eps=1e-5):
        self.eps = eps
        self.gamma = np.ones(features)
        self.beta = np.zeros(features)

    def apply(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.hat + self.beta

    def derive(self, upstream):
        self.dgamma = np.sum(upstream * self.hat, axis=0)
        self.dbeta = np.sum(upstream, axis=0)
        g = upstream * self.gamma
        return (g - g.mean(axis=0) + self.hat * np.mean(g * self.hat, axis=0)) / self.std
