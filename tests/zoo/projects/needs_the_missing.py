import numpy as np
from lib_that_is_not_there import EPS


class BatchNorm:
    def __init__(self, num_features):
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)

    def forward(self, x):
        self.std = np.sqrt(x.var(0) + EPS)
        self.x_hat = (x - x.mean(0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        self.dgamma = (dout * self.x_hat).sum(0)
        self.dbeta = dout.sum(0)
        return self.gamma / self.std * (dout - dout.mean(0) - self.x_hat * (dout * self.x_hat).mean(0))
