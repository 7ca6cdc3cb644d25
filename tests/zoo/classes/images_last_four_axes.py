import numpy as np

class BatchNorm:
    def __init__(self, n_channels, eps=1e-5):
        self.gamma = np.ones((1, 1, 1, n_channels))
        self.beta = np.zeros((1, 1, 1, n_channels))
        self.eps = eps

    def forward(self, X):
        self.X = X
        self.mean = np.mean(X, axis=(0, 1, 2), keepdims=True)
        self.var = np.var(X, axis=(0, 1, 2), keepdims=True)
        self.X_bar = (X - self.mean) / np.sqrt(self.var + self.eps)
        return self.gamma * self.X_bar + self.beta

    def backward(self, dO):
        m = self.X.shape[0] * self.X.shape[1] * self.X.shape[2]
        self.dgamma = np.sum(dO * self.X_bar, axis=(0, 1, 2), keepdims=True)
        self.dbeta = np.sum(dO, axis=(0, 1, 2), keepdims=True)
        dXb = dO * self.gamma
        num = m * dXb - np.sum(dXb, axis=(0, 1, 2), keepdims=True)
        num = num - self.X_bar * np.sum(dXb * self.X_bar, axis=(0, 1, 2), keepdims=True)
        return num / (m * np.sqrt(self.var + self.eps))
