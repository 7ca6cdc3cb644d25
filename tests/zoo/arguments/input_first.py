import numpy as np

class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.g, self.b, self.eps = np.ones(n), np.zeros(n), eps

    def forward(self, a):
        return self.g * (a - a.mean(0)) / np.sqrt(a.var(0) + self.eps) + self.b

    def backward(self, a, e):
        s = np.sqrt(a.var(0) + self.eps)
        h = (a - a.mean(0)) / s
        self.dg = (e * h).sum(0)
        self.db = e.sum(0)
        return self.g / s * (e - e.mean(0) - h * (e * h).mean(0))
