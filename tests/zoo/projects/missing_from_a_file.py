from settings_that_are_not_there import *
from layers_that_are_not_there import Layer
import numpy as np


class BatchNorm(Layer):
    def __init__(self, units, eps=1e-5):
        self.gamma = np.ones(units)
        self.beta = np.zeros(units)
        self.eps = eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.x_hat, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        return self.gamma / self.std * (dout - dout.mean(axis=0))
