import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(num_features), np.zeros(num_features), eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.xh = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        N = dout.shape[0]
        self.dgamma = np.sum(dout * self.xh, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        return (1. / N) * self.gamma * self.std * (N * dout - self.dbeta - self.xh * self.dgamma)
