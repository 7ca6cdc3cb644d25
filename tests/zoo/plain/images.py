import numpy as np

class BatchNorm2dNoAffine:
    def __init__(self, eps=1e-5):
        self.eps = eps

    def forward(self, x):
        m = x.mean(axis=(0, 2, 3), keepdims=True)
        self.i = 1 / np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + self.eps)
        self.h = (x - m) * self.i
        return self.h

    def backward(self, g):
        mean = lambda a: a.mean(axis=(0, 2, 3), keepdims=True)
        return self.i * (g - mean(g) - self.h * mean(g * self.h))
