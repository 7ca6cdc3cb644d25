import numpy as np

class BatchNorm:
    def __init__(self, dim, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(dim), np.zeros(dim), eps

    def forward(self, x):
        self.s = np.sqrt(x.var(axis=0) + self.eps)
        self.h = (x - x.mean(axis=0)) / self.s
        return self.gamma * self.h + self.beta

    def backward(self, dout):
        dx = np.zeros(dout.shape, dtype=np.float32)
        self.dgamma, self.dbeta = (dout * self.h).sum(axis=0), dout.sum(axis=0)
        for i in range(len(dout)):
            dx[i] = self.gamma / self.s * (dout[i] - self.dbeta / len(dout) - self.h[i] * self.dgamma / len(dout))
        return dx
