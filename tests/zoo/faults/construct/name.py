import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_feature)
        self.eps = eps

    def forward(self, x):
        self.s = np.sqrt(x.var(axis=0) + self.eps)
        self.h = (x - x.mean(axis=0)) / self.s
        return self.gamma * self.h + self.beta

    def backward(self, dout):
        self.dgamma, self.dbeta = (dout * self.h).sum(axis=0), dout.sum(axis=0)
        return self.gamma / self.s * (dout - dout.mean(axis=0) - self.h * (dout * self.h).mean(axis=0))
