import numpy as np

class BatchNormalization:
    def __init__(self, dim, momentum=0.5, epsilon=1e-8):
        self.gamma, self.beta = np.ones((1, dim)), np.zeros((1, dim))
        self.momentum, self.epsilon = momentum, epsilon
        self.mean, self.var, self.calls = 0.0, 0.0, 0

    def forward(self, X):
        self.X = X
        mu, v = X.mean(axis=0, keepdims=True), X.var(axis=0, keepdims=True)
        k = self.momentum if self.calls else 0.0
        self.mean = k * self.mean + (1 - k) * mu
        self.var = k * self.var + (1 - k) * v
        self.calls += 1
        return self.gamma * (X - mu) / np.sqrt(v + self.epsilon) + self.beta

    def backward(self, dY):
        m = dY.shape[0]
        s = np.sqrt(self.var + self.epsilon)
        Xh = (self.X - self.mean) / s
        dgamma, dbeta = (dY * Xh).sum(axis=0, keepdims=True), dY.sum(axis=0, keepdims=True)
        return self.gamma / s * (dY - dbeta / m - Xh * dgamma / m), dgamma, dbeta
