import numpy as np

class BatchNorm:
    def __init__(self, eps=1e-5):
        self.eps = eps

    def build(self, input_shape):
        self.gamma = np.ones(input_shape)
        self.beta = np.zeros(input_shape)

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.xn = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        m = dout.shape[0]
        self.dgamma = (dout * self.xn).sum(axis=0) / m
        self.dbeta = dout.sum(axis=0) / m
        g = dout * self.gamma
        return (g - g.mean(axis=0) - self.xn * (g * self.xn).mean(axis=0)) / self.std
