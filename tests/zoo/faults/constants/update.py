import numpy as np

class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones((1, n)), np.zeros((1, n)), eps

    def forward(self, x):
        self.ivar = 1 / np.sqrt(np.var(x, axis=0, keepdims=True) + self.eps)
        self.xn = (x - np.mean(x, axis=0, keepdims=True)) * self.ivar
        return self.gamma * self.xn + self.beta

    def backward(self, dout, learning_rate=0.01):
        dx = dout * self.gamma * self.ivar
        self.gamma = self.gamma - learning_rate * np.sum(dout * self.xn, axis=0, keepdims=True)
        self.beta = self.beta - learning_rate * np.sum(dout, axis=0, keepdims=True)
        return dx
