import numpy as np

class BN:
    def __init__(self, dim, epsilon=1e-5):
        self.gamma, self.beta = np.ones((1, dim)), np.zeros((1, dim))
        self.epsilon = epsilon

    def forward(self, x):
        self.mu = x.mean(axis=0, keepdims=True)
        self.xc = x - self.mu
        self.ivar = 1 / np.sqrt((self.xc ** 2).mean(axis=0, keepdims=True) + self.epsilon)
        self.xh = self.xc * self.ivar
        return self.gamma * self.xh + self.beta

    def backward(self, dy):
        n = dy.shape[0]
        dgamma = (dy * self.xh).sum(axis=0, keepdims=True)
        dbeta = dy.sum(axis=0, keepdims=True)
        dxh = dy * self.gamma
        dvar = (dxh * self.xc).sum(axis=0, keepdims=True) * -0.5 * self.ivar ** 3
        dmu = (dxh * self.ivar).sum(axis=0, keepdims=True)
        return dxh * self.ivar + dvar * 2 * self.xc / n + dmu / n, dgamma, dbeta
