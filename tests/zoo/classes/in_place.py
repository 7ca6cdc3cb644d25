import numpy as np

class BatchNormInPlace:
    """Works on its own copy, in place, to save two temporaries."""
    def __init__(self, num_features, eps=1e-5):
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)
        self.eps = eps

    def forward(self, x):
        z = x.copy()
        z -= z.mean(axis=0)
        self.inv = 1 / np.sqrt(np.mean(z * z, axis=0) + self.eps)
        z *= self.inv
        self.z = z.copy()
        z *= self.gamma
        z += self.beta
        return z

    def backward(self, dout):
        self.dgamma = (dout * self.z).sum(axis=0)
        self.dbeta = dout.sum(axis=0)
        d = dout.copy()
        d *= self.gamma
        k = (d * self.z).mean(axis=0)
        d -= d.mean(axis=0)
        d -= k * self.z
        d *= self.inv
        return d
