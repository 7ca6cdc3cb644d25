import numpy as np


class BatchNormalization:
    def __init__(self, input_shape, epsilon=1e-5):
        # input_shape is a tuple without the batch axis, e.g. (64,)
        self.input_shape = input_shape
        self.epsilon = epsilon
        self.gamma = np.ones(input_shape)
        self.beta = np.zeros(input_shape)
        self.gamma_grad = np.zeros(input_shape)
        self.beta_grad = np.zeros(input_shape)

    def forward(self, x):
        self.mean = np.mean(x, axis=0)
        self.var = np.var(x, axis=0)
        self.x_centered = x - self.mean
        self.stddev_inv = 1.0 / np.sqrt(self.var + self.epsilon)
        self.x_norm = self.x_centered * self.stddev_inv
        return self.gamma * self.x_norm + self.beta

    def backward(self, grad):
        m = len(grad)
        self.gamma_grad = np.sum(grad * self.x_norm, axis=0)
        self.beta_grad = np.sum(grad, axis=0)
        return (1 / m) * self.gamma * self.stddev_inv * (
            m * grad - np.sum(grad, axis=0) - self.x_centered * self.stddev_inv ** 2 * np.sum(grad * self.x_centered, axis=0)
        )
