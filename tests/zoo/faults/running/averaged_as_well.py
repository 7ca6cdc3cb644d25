import numpy as np


class BatchNormLayer:
    def __init__(self, dim, momentum=0.9, eps=1e-5):
        self.gamma, self.beta = np.ones(dim), np.zeros(dim)
        self.momentum, self.eps = momentum, eps
        self.running_mean, self.running_var = np.zeros(dim), np.zeros(dim)

    def forward(self, x, training=True):
        if training:
            mu, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mu, var = self.running_mean, self.running_var
        self.x_hat = (x - mu) / np.sqrt(var + self.eps)
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        self.dgamma = (dout * self.x_hat).mean(axis=0)
        self.dbeta = dout.sum(axis=0)
        g = dout * self.gamma
        g = g - g.mean(axis=0) - self.x_hat * (g * self.x_hat).mean(axis=0)
        return g / np.sqrt(self.running_var + self.eps)
