import numpy as np

class BatchNormalization:
    def __init__(self, n, lr=0.1, eps=1e-5):
        self.lr, self.eps = lr, eps
        self.gamma, self.beta = np.ones(n), np.zeros(n)

    def forward(self, x):
        self.x, self.mu, self.var = x, x.mean(axis=0), x.var(axis=0)
        self.n = (x - self.mu) / np.sqrt(self.var + self.eps)
        return self.gamma * self.n + self.beta

    def backward(self, dout):
        m = dout.shape[0]
        dn = dout * self.gamma
        i = 1 / np.sqrt(self.var + self.eps)
        dvar = np.sum(dn * (self.x - self.mu), axis=0) * -0.5 * i ** 3
        dmu = np.sum(-dn * i, axis=0) + dvar * np.mean(-2 * self.x, axis=0)
        dx = dn * i + dvar * 2 * (self.x - self.mu) / m + dmu / m
        self.gamma = self.gamma - self.lr * np.sum(dout * self.n, axis=0)
        self.beta = self.beta - self.lr * np.sum(dout, axis=0)
        return dx
