import numpy as np


class BatchNormalization:
    def __init__(self, momentum=0.99, epsilon=1e-3):
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        dim = input_shape[-1]
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)
        self.moving_mean = np.zeros(dim)
        self.moving_variance = np.ones(dim)

    def forward(self, inputs, training=True):
        if not training:
            return self.gamma * (inputs - self.moving_mean) / np.sqrt(self.moving_variance + self.epsilon) + self.beta
        mean, variance = inputs.mean(axis=0), inputs.var(axis=0)
        self.std = np.sqrt(variance + self.epsilon)
        self.normed = (inputs - mean) / self.std
        self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mean
        self.moving_variance = self.momentum * self.moving_variance + (1 - self.momentum) * variance
        return self.gamma * self.normed + self.beta

    def backward(self, grads):
        self.dgamma = np.sum(grads * self.normed, axis=0)
        self.dbeta = np.sum(grads, axis=0)
        g = grads * self.gamma
        return (g - g.mean(axis=0) - self.normed * np.mean(g * self.normed, axis=0)) / self.std
