import numpy as np

class BatchNorm:
    def __init__(self, eps=1e-5):
        self.gamma = 1.0
        self.beta = 0.0
        self.eps = eps

    def forward(self, x):
        self.sd = np.sqrt(x.var(axis=0) + self.eps)
        self.xh = (x - x.mean(axis=0)) / self.sd
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.xh, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        return self.gamma / self.sd * (dout - dout.mean(axis=0) - self.xh * (dout * self.xh).mean(axis=0))
