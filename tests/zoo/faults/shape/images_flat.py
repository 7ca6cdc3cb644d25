import numpy as np


class BatchNorm2D:
    def __init__(self, channels, eps=1e-5):
        self.eps = eps
        self.gamma = np.ones((1, channels, 1, 1))
        self.beta = np.zeros((1, channels, 1, 1))

    def forward(self, x):
        mu = np.mean(x, axis=(0, 2, 3), keepdims=True)
        self.inv_std = 1 / np.sqrt(np.var(x, axis=(0, 2, 3), keepdims=True) + self.eps)
        self.x_hat = (x - mu) * self.inv_std
        return self.gamma * self.x_hat + self.beta

    def backward(self, grad_output):
        self.grad_gamma = np.sum(grad_output * self.x_hat, axis=(0, 2, 3))
        self.grad_beta = np.sum(grad_output, axis=(0, 2, 3))
        g = grad_output * self.gamma
        mean = lambda t: np.mean(t, axis=(0, 2, 3), keepdims=True)
        return self.inv_std * (g - mean(g) - self.x_hat * mean(g * self.x_hat))
