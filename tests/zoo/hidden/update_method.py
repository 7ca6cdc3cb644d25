import numpy as np

class BatchNorm:
    def __init__(self, n, eta=0.1, eps=1e-5):
        self.eta = eta
        self.eps = eps
        self.g = np.ones(n)
        self.b = np.zeros(n)

    def forward(self, x):
        self.s = np.sqrt(x.var(axis=0) + self.eps)
        self.z = (x - x.mean(axis=0)) / self.s
        return self.g * self.z + self.b

    def backward(self, d):
        dz = d * self.g
        dx = (dz - dz.mean(axis=0) - self.z * (dz * self.z).mean(axis=0)) / self.s
        self._update((d * self.z).sum(axis=0), d.sum(axis=0))
        return dx

    def _update(self, dg, db):
        self.g -= self.eta * dg
        self.b -= self.eta * db
