import numpy as np

class BatchNorm:
    def __init__(self, dim, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(dim), np.zeros(dim), eps

    def forward(self, x):
        self.xc = x - x.mean(axis=0)
        self.v = x.var(axis=0) + self.eps
        self.h = self.xc / self.v
        return self.gamma * self.h + self.beta

    def backward(self, dout):
        n = dout.shape[0]
        self.dgamma, self.dbeta = (dout * self.h).sum(axis=0), dout.sum(axis=0)
        dh = dout * self.gamma
        dv = -(dh * self.xc).sum(axis=0) / self.v ** 2
        dxc = dh / self.v + dv * 2 * self.xc / n
        return dxc - dxc.mean(axis=0)
