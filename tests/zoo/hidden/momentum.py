import numpy as np


class BatchNormLayer:
    def __init__(self, size, learning_rate=0.01, friction=0.9, eps=1e-5):
        self.gamma, self.beta = np.ones(size), np.zeros(size)
        self.v_gamma, self.v_beta = np.zeros(size), np.zeros(size)
        self.learning_rate, self.friction, self.eps = learning_rate, friction, eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.xn = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        g = dout * self.gamma
        dx = (g - g.mean(axis=0) - self.xn * (g * self.xn).mean(axis=0)) / self.std
        self.v_gamma = self.friction * self.v_gamma - self.learning_rate * (dout * self.xn).sum(axis=0)
        self.v_beta = self.friction * self.v_beta - self.learning_rate * dout.sum(axis=0)
        self.gamma = self.gamma + self.v_gamma
        self.beta = self.beta + self.v_beta
        return dx
