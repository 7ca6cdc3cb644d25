import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(num_features), np.zeros(num_features), eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        self.dgamma = np.mean(dout * self.x_hat, axis=0)
        self.dbeta = np.mean(dout, axis=0)
        return self.gamma / self.std * (dout - self.dbeta - self.x_hat * self.dgamma)
