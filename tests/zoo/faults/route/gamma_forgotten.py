import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(num_features), np.zeros(num_features), eps

    def forward(self, x):
        self.inv = 1 / np.sqrt(x.var(0) + self.eps)
        self.xh = (x - x.mean(0)) * self.inv
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        n = dout.shape[0]
        dgamma, dbeta = (dout * self.xh).sum(0), dout.sum(0)
        dx = self.inv / n * (n * dout - dbeta - self.xh * dgamma)
        return dx, dgamma, dbeta
