import numpy as np


class BatchNormLayer(object):
    """careful: without is_train=True it uses the running statistics"""

    def __init__(self, dim, momentum=0.95, epsilon=1e-6):
        self.dim = dim
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma = np.ones((1, dim))
        self.beta = np.zeros((1, dim))
        self.mean_ = np.zeros((1, dim))
        self.var_ = np.ones((1, dim))

    def forward(self, X, is_train=False):
        if is_train:
            self.mu = np.mean(X, axis=0, keepdims=True)
            self.var = np.var(X, axis=0, keepdims=True)
            self.mean_ = self.momentum * self.mean_ + (1 - self.momentum) * self.mu
            self.var_ = self.momentum * self.var_ + (1 - self.momentum) * self.var
        else:
            self.mu, self.var = self.mean_, self.var_
        self.X = X
        self.X_hat = (X - self.mu) / np.sqrt(self.var + self.epsilon)
        return self.X_hat * self.gamma + self.beta

    def backward(self, dY):
        n = dY.shape[0]
        self.grad_gamma = np.sum(dY * self.X_hat, axis=0, keepdims=True)
        self.grad_beta = np.sum(dY, axis=0, keepdims=True)
        ivar = 1 / np.sqrt(self.var + self.epsilon)
        dXh = dY * self.gamma
        dvar = np.sum(dXh * (self.X - self.mu), axis=0, keepdims=True) * (-.5) * ivar ** 3
        dmu = -ivar * np.sum(dXh, axis=0, keepdims=True)  # the other term is a sum of deviations, so zero
        return dXh * ivar + dvar * (2 / n) * (self.X - self.mu) + dmu / n
