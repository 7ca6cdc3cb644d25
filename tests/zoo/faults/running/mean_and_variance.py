import numpy as np


class BatchNorm1d:
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight = np.ones(num_features)
        self.bias = np.zeros(num_features)
        self.running_mean = np.zeros(num_features)
        self.running_var = np.ones(num_features)

    def forward(self, x):
        mean, var = x.mean(axis=0), x.var(axis=0)
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
        self.x = x
        return self.weight * (x - mean) / np.sqrt(var + self.eps) + self.bias

    def backward(self, grad):
        std = np.sqrt(self.running_var + self.eps)
        x_hat = (self.x - self.running_mean) / std
        self.weight_grad = np.sum(grad * x_hat, axis=0)
        self.bias_grad = np.sum(grad, axis=0)
        g = grad * self.weight
        return (g - g.mean(axis=0) - x_hat * np.mean(g * x_hat, axis=0)) / std
