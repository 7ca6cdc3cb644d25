import numpy as np


class BatchNorm1d:
    def __init__(self, num_features, eps=1e-5):
        self.eps = eps
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)

    def forward(self, x):
        self.sd = np.sqrt(x.var(axis=0) + self.eps)
        self.z = (x - x.mean(axis=0)) / self.sd
        return self.gamma * self.z + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.z, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        dz = self.gamma * dout
        return (dz - dz.mean(axis=0) - self.z * (dz * self.z).mean(axis=0)) / self.sd


class BatchNorm2d(BatchNorm1d):
    def forward(self, x):
        n, c, h, w = x.shape
        out = super().forward(x.transpose(0, 2, 3, 1).reshape(-1, c))
        return out.reshape(n, h, w, c).transpose(0, 3, 1, 2)

    def backward(self, dout):
        n, c, h, w = dout.shape
        dx = super().backward(dout.transpose(0, 2, 3, 1).reshape(-1, c))
        return dx.reshape(n, h, w, c).transpose(0, 3, 1, 2)
