import numpy as np


class BatchNormalization:
    def __init__(self, dim, epsilon=1e-5):
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)
        self.epsilon = epsilon

    def forward(self, x):
        self.x = x
        self.std = np.sqrt(x.var(axis=0) + self.epsilon)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, grad=None):
        if grad is None:  # the last layer of all
            grad = np.ones_like(self.x)
        self.grad_gamma = np.sum(grad * self.x_hat, axis=0)
        self.grad_beta = np.sum(grad, axis=0)
        g = grad * self.gamma
        return (g - g.mean(axis=0) - self.x_hat * np.mean(g * self.x_hat, axis=0)) / self.std
