import numpy as np

class BatchNorm:
    def __init__(self, n_features, lr=0.01, eps=1e-5):
        self.lr = lr
        self.eps = eps
        self.gamma = np.ones(n_features)
        self.beta = np.zeros(n_features)

    def forward(self, x):
        self.mu = x.mean(axis=0)
        self.inv = 1 / np.sqrt(x.var(axis=0) + self.eps)
        self.xn = (x - self.mu) * self.inv
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        n = dout.shape[0]
        dx = self.gamma * self.inv * (dout - dout.mean(axis=0) - self.xn * (dout * self.xn).mean(axis=0))
        self.gamma = self.gamma - self.lr * np.sum(dout * self.xn, axis=0)
        self.beta = self.beta - self.lr * np.sum(dout, axis=0)
        return dx
