import numpy as np


class BatchNorm1d:
    def __init__(self, num_features, eps=1e-5):
        self.eps = eps
        self.gamma = np.ones((1, num_features))
        self.beta = np.zeros((1, num_features))
        self.grad_gamma = np.zeros((1, num_features))
        self.grad_beta = np.zeros((1, num_features))

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0, keepdims=True) + self.eps)
        self.x_hat = (x - x.mean(axis=0, keepdims=True)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, grad):
        self.grad_beta = np.sum(grad * self.x_hat, axis=0, keepdims=True)
        self.grad_gamma = np.sum(grad, axis=0, keepdims=True)
        g = grad * self.gamma
        return (g - g.mean(0) - self.x_hat * (g * self.x_hat).mean(0)) / self.std
