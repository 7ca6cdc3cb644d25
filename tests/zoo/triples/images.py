import numpy as np

class SpatialBatchNorm:
    def __init__(self, C, eps=1e-5):
        self.C, self.eps = C, eps
        self.gamma, self.beta = np.ones((1, C, 1, 1)), np.zeros((1, C, 1, 1))

    def forward(self, X):
        self.X = X
        N, C, H, W = X.shape
        self.m = N * H * W
        self.mu = np.sum(X, axis=(0, 2, 3), keepdims=True) / self.m
        self.var = np.sum((X - self.mu) ** 2, axis=(0, 2, 3), keepdims=True) / self.m
        self.Xn = (X - self.mu) / np.sqrt(self.var + self.eps)
        return self.Xn * self.gamma + self.beta

    def backward(self, dout):
        dgamma = np.sum(dout * self.Xn, axis=(0, 2, 3), keepdims=True)
        dbeta = np.sum(dout, axis=(0, 2, 3), keepdims=True)
        dX = self.gamma / (self.m * np.sqrt(self.var + self.eps)) * (self.m * dout - dbeta - self.Xn * dgamma)
        return [dX, dgamma, dbeta]
