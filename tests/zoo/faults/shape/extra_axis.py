import numpy as np

class BatchNorm:
    def __init__(self, dim, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(dim), np.zeros(dim), eps

    def forward(self, x):
        self.sd = np.sqrt(x.var(axis=0) + self.eps)
        self.xh = (x - x.mean(axis=0)) / self.sd
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        self.dgamma = np.array([dout * self.xh])
        self.dbeta = np.sum(dout, axis=0)
        return self.gamma / self.sd * (dout - dout.mean(0) - self.xh * (dout * self.xh).mean(0))
