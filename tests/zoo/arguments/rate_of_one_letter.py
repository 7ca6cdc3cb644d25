import numpy as np


class BatchNormLayer:
    def __init__(self, width, eps=1e-5):
        self.scale = np.ones((1, width))
        self.shift = np.zeros((1, width))
        self.eps = eps

    def feed_forward(self, batch):
        self.std = np.sqrt(np.var(batch, axis=0, keepdims=True) + self.eps)
        self.unit = (batch - np.mean(batch, axis=0, keepdims=True)) / self.std
        return self.scale * self.unit + self.shift

    def back_propagate(self, delta, k):
        g = delta * self.scale
        out = (g - g.mean(axis=0) - self.unit * np.mean(g * self.unit, axis=0)) / self.std
        self.scale -= k * np.sum(delta * self.unit, axis=0, keepdims=True)
        self.shift -= k * np.sum(delta, axis=0, keepdims=True)
        return out
