import numpy as np


class GradientDescent:
    def __init__(self, learning_rate):
        self.learning_rate = learning_rate

    def step(self, value, gradient):
        return value - self.learning_rate * gradient


class BatchNorm:
    def __init__(self, n_in, learning_rate=1e-3, eps=1e-5):
        self.optim = GradientDescent(learning_rate)
        self.gamma, self.beta = np.ones(n_in), np.zeros(n_in)
        self.eps = eps

    def forward(self, x, training=True):
        self.sigma = np.sqrt(np.var(x, axis=0) + self.eps)
        self.x_norm = (x - np.mean(x, axis=0)) / self.sigma
        return self.x_norm * self.gamma + self.beta

    def backward(self, dy):
        dxn = dy * self.gamma
        dx = (dxn - np.mean(dxn, axis=0) - self.x_norm * np.mean(dxn * self.x_norm, axis=0)) / self.sigma
        self.gamma = self.optim.step(self.gamma, np.sum(dy * self.x_norm, axis=0))
        self.beta = self.optim.step(self.beta, np.sum(dy, axis=0))
        return dx
