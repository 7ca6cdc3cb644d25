import numpy as np


class Normalise:
    def __init__(self, n_features, epsilon=1e-5):
        self.scale = np.ones(n_features)
        self.shift = np.zeros(n_features)
        self.epsilon = epsilon

    def forward(self, batch):
        self.offset = batch - batch.mean(axis=0)
        self.spread = np.sqrt((self.offset ** 2).mean(axis=0) + self.epsilon)
        self.standard = self.offset / self.spread
        return self.scale * self.standard + self.shift

    def backward(self, error):
        self.dscale = (error * self.standard).sum(axis=0)
        self.dshift = error.sum(axis=0)
        inner = error * self.scale
        along = (inner * self.standard).mean(axis=0)
        return (inner - inner.mean(axis=0) - along * self.standard) / self.spread
