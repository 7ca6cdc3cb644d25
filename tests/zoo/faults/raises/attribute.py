import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(num_features), np.zeros(num_features), eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_norm = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_norm + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.x_normalized, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        n = len(dout)
        return self.gamma / self.std * (dout - self.dbeta / n - self.x_normalized * self.dgamma / n)
