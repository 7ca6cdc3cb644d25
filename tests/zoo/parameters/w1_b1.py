import numpy as np

class BatchNormLayer:
    def __init__(self, n, eps=1e-5):
        self.W1 = np.ones((1, n))
        self.b1 = np.zeros((1, n))
        self.eps = eps

    def forward(self, X):
        self.S = np.sqrt(X.var(axis=0, keepdims=True) + self.eps)
        self.H = (X - X.mean(axis=0, keepdims=True)) / self.S
        return self.H * self.W1 + self.b1

    def backward(self, dY):
        self.dW1 = np.sum(dY * self.H, axis=0, keepdims=True)
        self.db1 = np.sum(dY, axis=0, keepdims=True)
        G = dY * self.W1
        return (G - G.mean(axis=0) - self.H * (G * self.H).mean(axis=0)) / self.S
