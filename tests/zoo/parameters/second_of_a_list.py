import numpy as np

class BatchNorm:
    def __init__(self, dim, eps=1e-5):
        self.params = [np.ones(dim), np.zeros(dim)]
        self.grads = [np.zeros(dim), np.zeros(dim)]
        self.eps = eps

    def forward(self, x):
        gamma, beta = self.params
        mu = x.mean(axis=0)
        self.xc = x - mu
        self.std = np.sqrt(np.mean(self.xc ** 2, axis=0) + self.eps)
        self.xn = self.xc / self.std
        return gamma * self.xn + beta

    def backward(self, dout):
        gamma, _ = self.params
        self.grads[0][...] = np.sum(self.xn * dout, axis=0)
        self.grads[1][...] = dout.sum(axis=0)
        n = len(dout)
        dxn = gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
        dvar = 0.5 * dstd / self.std
        dxc += (2.0 / n) * self.xc * dvar
        return dxc - np.sum(dxc, axis=0) / n
