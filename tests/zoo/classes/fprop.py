import numpy as np


class Layer(object):
    def fprop(self, x):
        raise NotImplementedError

    def bprop(self, d):
        raise NotImplementedError


class BatchNormalization(Layer):
    def __init__(self, size, eps=1e-4):
        self.gamma = np.ones(size)
        self.beta = np.zeros(size)
        self.eps = eps

    def fprop(self, x):
        self.xmu = x - np.mean(x, axis=0)
        self.std = np.sqrt(np.mean(self.xmu ** 2, axis=0) + self.eps)
        self.xhat = self.xmu / self.std
        return self.gamma * self.xhat + self.beta

    def bprop(self, d):
        self.dgamma = np.sum(d * self.xhat, axis=0)
        self.dbeta = np.sum(d, axis=0)
        d = d * self.gamma
        d = d - np.mean(d, axis=0) - self.xhat * np.mean(d * self.xhat, axis=0)
        return d / self.std
