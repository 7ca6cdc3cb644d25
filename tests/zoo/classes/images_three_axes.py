import numpy as np

class BatchNorm2D:
    """gamma as (C, 1, 1): it broadcasts over the batch by itself"""
    def __init__(self, num_channels, eps=1e-5):
        self.gamma = np.ones((num_channels, 1, 1))
        self.beta = np.zeros((num_channels, 1, 1))
        self.eps = eps

    def forward(self, x):
        self.m = x.shape[0] * x.shape[2] * x.shape[3]
        mu = np.sum(x, axis=(0, 2, 3), keepdims=True)[0] / self.m
        self.sd = np.sqrt(np.sum((x - mu) ** 2, axis=(0, 2, 3), keepdims=True)[0] / self.m + self.eps)
        self.xh = (x - mu) / self.sd
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.xh, axis=(0, 2, 3), keepdims=True)[0]
        self.dbeta = np.sum(dout, axis=(0, 2, 3), keepdims=True)[0]
        return self.gamma / self.sd * (dout - self.dbeta / self.m - self.xh * self.dgamma / self.m)
