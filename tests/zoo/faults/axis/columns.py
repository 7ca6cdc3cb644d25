import numpy as np

class BatchNorm:
    def __init__(self, n, epsilon=1e-8):
        self.gamma, self.beta, self.epsilon = np.ones((n, 1)), np.zeros((n, 1)), epsilon

    def forward(self, Z):
        self.Z = Z
        self.mu, self.var = Z.mean(axis=1, keepdims=True), Z.var(axis=1, keepdims=True)
        self.Zn = (Z - self.mu) / np.sqrt(self.var + self.epsilon)
        return self.gamma * self.Zn + self.beta

    def backward(self, dZ):
        m = dZ.shape[0]
        self.dgamma = np.sum(dZ * self.Zn, axis=1, keepdims=True)
        self.dbeta = np.sum(dZ, axis=1, keepdims=True)
        dZn = dZ * self.gamma
        i = 1 / np.sqrt(self.var + self.epsilon)
        dvar = np.sum(dZn * (self.Z - self.mu), axis=1, keepdims=True) * -.5 * i ** 3
        dmu = -np.sum(dZn, axis=1, keepdims=True) * i
        return dZn * i + dvar * 2 * (self.Z - self.mu) / m + dmu / m
