import numpy as np


class BatchNormLayer:
    def __init__(self, eps=1e-5):
        self.eps = eps
        self.input_size = None
        self.gamma = None
        self.beta = None

    def make(self):
        self.gamma = np.ones((1, self.input_size))
        self.beta = np.zeros((1, self.input_size))

    def forward(self, X):
        self.std = np.sqrt(np.var(X, axis=0, keepdims=True) + self.eps)
        self.Xh = (X - np.mean(X, axis=0, keepdims=True)) / self.std
        return self.gamma * self.Xh + self.beta

    def backward(self, dY):
        self.dgamma = np.sum(dY * self.Xh, axis=0, keepdims=True)
        self.dbeta = np.sum(dY, axis=0, keepdims=True)
        g = dY * self.gamma
        return (g - np.mean(g, axis=0) - self.Xh * np.mean(g * self.Xh, axis=0)) / self.std
