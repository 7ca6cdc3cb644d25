import copy
import numpy as np


class BatchNormalization:
    def __init__(self, n_features, momentum=0.9, eps=1e-5):
        self.gamma = np.ones(n_features)
        self.beta = np.zeros(n_features)
        self.gamma_opt = self.beta_opt = None
        self.momentum, self.eps = momentum, eps

    def initialize(self, optimizer):
        self.gamma_opt = copy.copy(optimizer)
        self.beta_opt = copy.copy(optimizer)

    def forward(self, X):
        self.X_centered = X - X.mean(axis=0)
        self.stddev_inv = 1 / np.sqrt(X.var(axis=0) + self.eps)
        return self.gamma * (self.X_centered * self.stddev_inv) + self.beta

    def backward(self, grad):
        gamma = self.gamma
        if self.gamma_opt is not None:
            self.gamma = self.gamma_opt.update(self.gamma, np.sum(grad * self.X_centered * self.stddev_inv, axis=0))
            self.beta = self.beta_opt.update(self.beta, np.sum(grad, axis=0))
        n = grad.shape[0]
        return (1 / n) * gamma * self.stddev_inv * (
            n * grad - np.sum(grad, axis=0)
            - self.X_centered * self.stddev_inv ** 2 * np.sum(grad * self.X_centered, axis=0))
