# coding: utf-8
import numpy as np


class BatchNormalization:
    """Normalises over the batch. 4-d input is flattened per example, so each pixel is a feature of its own."""

    def __init__(self, gamma, beta, momentum=0.9, moving_mean=None, moving_var=None):
        self.gamma = gamma
        self.beta = beta
        self.momentum = momentum
        self.in_shape = None

        self.moving_mean = moving_mean
        self.moving_var = moving_var

        self.size = None
        self.centred = None
        self.std = None
        self.dgamma = None
        self.dbeta = None

    def forward(self, x, train_flg=True):
        self.in_shape = x.shape
        if x.ndim != 2:
            x = x.reshape(x.shape[0], -1)
        out = self._forward(x, train_flg)
        return out.reshape(*self.in_shape)

    def _forward(self, x, train_flg):
        if self.moving_mean is None:
            self.moving_mean = np.zeros(x.shape[1])
            self.moving_var = np.zeros(x.shape[1])
        if train_flg:
            mu = x.mean(axis=0)
            self.centred = x - mu
            v = np.mean(self.centred ** 2, axis=0)
            self.std = np.sqrt(v + 10e-7)
            self.normed = self.centred / self.std
            self.size = x.shape[0]
            self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mu
            self.moving_var = self.momentum * self.moving_var + (1 - self.momentum) * v
            normed = self.normed
        else:
            normed = (x - self.moving_mean) / np.sqrt(self.moving_var + 10e-7)
        return self.gamma * normed + self.beta

    def backward(self, dout):
        if dout.ndim != 2:
            dout = dout.reshape(dout.shape[0], -1)
        dx = self._backward(dout)
        return dx.reshape(*self.in_shape)

    def _backward(self, dout):
        self.dbeta = dout.sum(axis=0)
        self.dgamma = np.sum(self.normed * dout, axis=0)
        dn = self.gamma * dout
        dc = dn / self.std
        dstd = -np.sum((dn * self.centred) / (self.std * self.std), axis=0)
        dv = 0.5 * dstd / self.std
        dc += (2.0 / self.size) * self.centred * dv
        dmu = np.sum(dc, axis=0)
        return dc - dmu / self.size
