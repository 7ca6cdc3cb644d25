import numpy as np

class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.gamma = np.ones((n, 1)); self.beta = np.zeros((n, 1)); self.eps = eps

    def forward(self, Z):
        m = Z.shape[1]
        self.mu = np.dot(Z, np.ones((m, 1))) / m
        self.Zc = Z - self.mu
        self.var = np.dot(self.Zc ** 2, np.ones((m, 1))) / m
        self.Zn = self.Zc / np.sqrt(self.var + self.eps)
        return self.gamma * self.Zn + self.beta

    def backward(self, dY):
        m = dY.shape[1]
        one = np.ones((m, 1))
        dgamma = np.dot(dY * self.Zn, one)
        dbeta = np.dot(dY, one)
        dZ = self.gamma / np.sqrt(self.var + self.eps) * (dY - (dbeta + self.Zn * dgamma) / m)
        return dZ, dgamma, dbeta
