import numpy as np


class BatchNorm:
    # num_features: outputs of a dense layer, or channels of a convolution; num_dims: 2 or 4
    def __init__(self, num_features, num_dims, eps=1e-5):
        shape = (1, num_features) if num_dims == 2 else (1, num_features, 1, 1)
        self.axes = 0 if num_dims == 2 else (0, 2, 3)
        self.gamma = np.ones(shape)
        self.beta = np.zeros(shape)
        self.eps = eps

    def forward(self, X):
        mean = X.mean(axis=self.axes, keepdims=True)
        self.std = np.sqrt(((X - mean) ** 2).mean(axis=self.axes, keepdims=True) + self.eps)
        self.X_hat = (X - mean) / self.std
        return self.gamma * self.X_hat + self.beta

    def backward(self, dY):
        self.dgamma = (dY * self.X_hat).sum(axis=self.axes, keepdims=True)
        self.dbeta = dY.sum(axis=self.axes, keepdims=True)
        g = dY * self.gamma
        inner = (g * self.X_hat).mean(axis=self.axes, keepdims=True)
        return (g - g.mean(axis=self.axes, keepdims=True) - self.X_hat * inner) / self.std
