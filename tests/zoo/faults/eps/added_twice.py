import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(num_features), np.zeros(num_features), eps

    def forward(self, x):
        self.mu = x.mean(axis=0)
        self.var = x.var(axis=0) + self.eps
        self.x = x
        self.xh = (x - self.mu) / np.sqrt(self.var)
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        N = dout.shape[0]
        self.dgamma, self.dbeta = (dout * self.xh).sum(0), dout.sum(0)
        isd = 1 / np.sqrt(self.var + self.eps)
        dxh = dout * self.gamma
        dvar = np.sum(dxh * (self.x - self.mu), axis=0) * -.5 * isd ** 3
        dmu = -np.sum(dxh * isd, axis=0)
        return dxh * isd + dvar * 2 * (self.x - self.mu) / N + dmu / N
