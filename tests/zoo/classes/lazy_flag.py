import numpy as np


class BatchNormalization:
    def __init__(self, momentum=0.99, epsilon=0.01):
        self.momentum = momentum
        self.epsilon = epsilon
        self.built = False

    def _build(self, shape):
        self.gamma = np.ones(shape[1:])
        self.beta = np.zeros(shape[1:])
        self.running_mean = np.zeros(shape[1:])
        self.running_var = np.ones(shape[1:])
        self.built = True

    def forward(self, X, training=True):
        if not self.built:
            self._build(X.shape)
        if training:
            mean, var = X.mean(axis=0), X.var(axis=0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mean, var = self.running_mean, self.running_var
        self.X_centered = X - mean
        self.stddev_inv = 1 / np.sqrt(var + self.epsilon)
        return self.gamma * self.X_centered * self.stddev_inv + self.beta

    def backward(self, grad):
        n = grad.shape[0]
        X_norm = self.X_centered * self.stddev_inv
        self.grad_gamma = np.sum(grad * X_norm, axis=0)
        self.grad_beta = np.sum(grad, axis=0)
        return (1 / n) * self.gamma * self.stddev_inv * (
            n * grad
            - np.sum(grad, axis=0)
            - self.X_centered * self.stddev_inv ** 2 * np.sum(grad * self.X_centered, axis=0)
        )
