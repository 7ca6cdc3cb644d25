from abc import ABC, abstractmethod
import numpy as np


class Layer(ABC):
    def __init__(self):
        self.trainable = True

    @abstractmethod
    def forward(self, x):
        ...

    @abstractmethod
    def backward(self, grad):
        ...


class BatchNorm(Layer):
    def __init__(self, d, eps=1e-5):
        super().__init__()
        self.gamma, self.beta, self.eps = np.ones(d), np.zeros(d), eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.hat + self.beta

    def backward(self, grad):
        self.grad_gamma = (grad * self.hat).sum(axis=0)
        self.grad_beta = grad.sum(axis=0)
        g = grad * self.gamma
        return (g - g.mean(axis=0) - self.hat * (g * self.hat).mean(axis=0)) / self.std


class GroupNorm(Layer):
    def __init__(self, groups, channels, eps=1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.gamma, self.beta = np.ones((1, channels, 1, 1)), np.zeros((1, channels, 1, 1))

    def forward(self, x):
        n, c, h, w = x.shape
        grouped = x.reshape(n * self.groups, -1).T
        self.std = np.sqrt(grouped.var(axis=0) + self.eps)
        self.hat = ((grouped - grouped.mean(axis=0)) / self.std).T.reshape(n, c, h, w)
        return self.gamma * self.hat + self.beta

    def backward(self, grad):
        raise NotImplementedError
