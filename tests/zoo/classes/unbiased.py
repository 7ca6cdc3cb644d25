import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.eps = eps
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)

    def forward(self, x):
        self.n = x.shape[0]
        self.xc = x - x.sum(axis=0) / self.n
        self.var = (self.xc ** 2).sum(axis=0) / (self.n - 1)
        self.std = np.sqrt(self.var + self.eps)
        self.xh = self.xc / self.std
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        self.dbeta = dout.sum(axis=0)
        self.dgamma = (dout * self.xh).sum(axis=0)
        dxh = dout * self.gamma
        dvar = -0.5 * (dxh * self.xc).sum(axis=0) / self.std ** 3
        dxc = dxh / self.std + 2 * dvar * self.xc / (self.n - 1)
        return dxc - dxc.mean(axis=0)
