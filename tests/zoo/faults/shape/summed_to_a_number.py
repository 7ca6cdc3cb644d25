import numpy as np

class BatchNormalization:
    def __init__(self, num_features, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(num_features), np.zeros(num_features), eps

    def forward(self, x):
        self.sd = np.sqrt(x.var(axis=0) + self.eps)
        self.xh = (x - x.mean(axis=0)) / self.sd
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        n = len(dout)
        dgamma = np.sum(dout * self.xh, axis=0)
        dbeta = np.sum(dout)
        dx = self.gamma / self.sd * (dout - dout.sum(axis=0) / n - self.xh * dgamma / n)
        return dx, dgamma, dbeta
