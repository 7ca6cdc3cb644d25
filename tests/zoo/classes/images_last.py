import numpy as np

class BatchNormalization:
    """channels last, like in keras"""
    def __init__(self, channels, epsilon=1e-3, momentum=0.99):
        self.gamma = np.ones((channels,))
        self.beta = np.zeros((channels,))
        self.moving_mean = np.zeros((channels,))
        self.moving_variance = np.ones((channels,))
        self.epsilon = epsilon
        self.momentum = momentum

    def forward(self, x, training=True):
        axes = tuple(range(x.ndim - 1))
        if training:
            mean, var = x.mean(axis=axes), x.var(axis=axes)
            self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mean
            self.moving_variance = self.momentum * self.moving_variance + (1 - self.momentum) * var
        else:
            mean, var = self.moving_mean, self.moving_variance
        self.inv = 1 / np.sqrt(var + self.epsilon)
        self.xhat = (x - mean) * self.inv
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        axes = tuple(range(dout.ndim - 1))
        m = dout.size / dout.shape[-1]
        self.dgamma = (dout * self.xhat).sum(axis=axes)
        self.dbeta = dout.sum(axis=axes)
        return self.gamma * self.inv * (dout - self.dbeta / m - self.xhat * self.dgamma / m)
