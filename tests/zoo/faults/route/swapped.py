import numpy as np

class BatchNorm1d:
    def __init__(self, num_features, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(num_features), np.zeros(num_features), eps

    def forward(self, x):
        self.m, self.v = x.mean(axis=0), x.var(axis=0)
        self.x = x
        self.z = (x - self.m) / np.sqrt(self.v + self.eps)
        return self.gamma * self.z + self.beta

    def backward(self, dout):
        n = len(dout)
        self.dgamma, self.dbeta = (dout * self.z).sum(axis=0), dout.sum(axis=0)
        dz = dout * self.gamma
        dv = (dz * (self.x - self.m)).sum(axis=0) * -.5 * (self.v + self.eps) ** -1.5
        dm = -dz.sum(axis=0) * (self.v + self.eps) ** -.5
        return dz * (self.v + self.eps) ** -.5 + dm * 2 * (self.x - self.m) / n + dv / n
