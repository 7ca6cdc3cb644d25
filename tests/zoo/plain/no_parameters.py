import numpy as np

class Normalization:
    """only normalises; scale and shift are left to the next layer"""
    def __init__(self, eps=1e-8):
        self.eps = eps

    def forward(self, x):
        self.std = np.sqrt(np.var(x, axis=0) + self.eps)
        self.y = (x - np.mean(x, axis=0)) / self.std
        return self.y

    def backward(self, dy):
        return (dy - np.mean(dy, axis=0) - self.y * np.mean(dy * self.y, axis=0)) / self.std
