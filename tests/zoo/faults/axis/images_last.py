import numpy as np

class BatchNorm:
    def __init__(self, channels, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(channels), np.zeros(channels), eps

    def forward(self, x):
        self.s = np.sqrt(x.var(axis=(0, 1, 2)) + self.eps)
        self.h = (x - x.mean(axis=(0, 1, 2))) / self.s
        return self.gamma * self.h + self.beta

    def backward(self, dout):
        m = dout.shape[0] * dout.shape[3]
        dgamma, dbeta = (dout * self.h).sum(axis=(0, 1, 2)), dout.sum(axis=(0, 1, 2))
        return self.gamma / self.s * (dout - dbeta / m - self.h * dgamma / m), dgamma, dbeta
