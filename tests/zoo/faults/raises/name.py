import numpy as np

class BN:
    def __init__(self, dim, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones((1, dim)), np.zeros((1, dim)), eps

    def forward(self, x):
        mu = x.mean(axis=0, keepdims=True)
        self.std = np.sqrt(x.var(axis=0, keepdims=True) + self.eps)
        self.xh = (x - mu) / self.std
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        dgamma = np.sum(dout * self.xh, axis=0, keepdims=True)
        dbeta = np.sum(dout, axis=0, keepdims=True)
        dvar = np.sum(dout * self.gamma * (x - mu), axis=0) * -0.5 / self.std ** 3
        dx = dout * self.gamma / self.std + dvar * 2 * (x - mu) / x.shape[0]
        return dx, dgamma, dbeta
