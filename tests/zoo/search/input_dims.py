import numpy as np


class BatchNorm:
    def __init__(self, input_dims, epsilon=1e-5):
        self.epsilon = epsilon
        self.gamma = np.ones(input_dims)
        self.beta = np.zeros(input_dims)

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.epsilon)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        self.dgamma = (dout * self.x_hat).sum(axis=0)
        self.dbeta = dout.sum(axis=0)
        g = self.gamma * dout
        return (g - g.mean(axis=0) - self.x_hat * (g * self.x_hat).mean(axis=0)) / self.std
