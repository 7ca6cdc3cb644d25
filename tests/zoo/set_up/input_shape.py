import numpy as np


class BatchNorm:
    def __init__(self, eps=1e-5):
        self.eps = eps

    def set_input_shape(self, shape):
        self.gamma = np.ones(shape)
        self.beta = np.zeros(shape)

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.xn = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        self.d_gamma = (dout * self.xn).sum(axis=0)
        self.d_beta = dout.sum(axis=0)
        g = dout * self.gamma
        return (g - g.mean(axis=0) - self.xn * (g * self.xn).mean(axis=0)) / self.std
