import numpy as np

class BatchNorm:
    def __init__(self, n_units, epsilon=1e-5):
        self.gamma = np.ones((n_units, 1))
        self.beta = np.zeros((n_units, 1))
        self.epsilon = epsilon

    def forward(self, A):
        self.s = np.sqrt(np.var(A, axis=1, keepdims=True) + self.epsilon)
        self.H = (A - np.mean(A, axis=1, keepdims=True)) / self.s
        return self.gamma * self.H + self.beta

    def backward(self, dA):
        m = dA.shape[1]
        self.dgamma = np.sum(dA * self.H, axis=1, keepdims=True)
        self.dbeta = np.sum(dA, axis=1, keepdims=True)
        return self.gamma / (m * self.s) * (m * dA - self.dbeta + self.H * self.dgamma)
