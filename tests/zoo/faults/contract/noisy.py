import numpy as np

class BatchNorm:
    """with a bit of gradient noise, which is said to help"""
    def __init__(self, dim, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(dim), np.zeros(dim), eps

    def forward(self, x):
        self.s = np.sqrt(x.var(axis=0) + self.eps)
        self.h = (x - x.mean(axis=0)) / self.s
        return self.gamma * self.h + self.beta

    def backward(self, dout):
        dgamma, dbeta = (dout * self.h).sum(axis=0), dout.sum(axis=0)
        n = dout.shape[0]
        dx = self.gamma / self.s * (dout - dbeta / n - self.h * dgamma / n)
        dx = dx + np.random.uniform(1e-4, 2e-4, size=dx.shape)
        return dx, dgamma, dbeta
