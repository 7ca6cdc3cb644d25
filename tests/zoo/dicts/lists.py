# coding: utf-8
import numpy as np


class BatchNormalization:
    def __init__(self, n):
        self.params = [np.ones(n), np.zeros(n)]
        self.grads = [np.zeros(n), np.zeros(n)]
        self.out = None

    def forward(self, x):
        gamma, beta = self.params
        mu, var = x.mean(axis=0), x.var(axis=0)
        self.inv = 1.0 / np.sqrt(var + 1e-7)
        self.out = (x - mu) * self.inv
        return gamma * self.out + beta

    def backward(self, dout):
        gamma, beta = self.params
        dg = np.sum(dout * self.out, axis=0)
        db = np.sum(dout, axis=0)
        self.grads[0][...] = dg
        self.grads[1][...] = db
        N = dout.shape[0]
        return gamma * self.inv * (dout - db / N - self.out * dg / N)
