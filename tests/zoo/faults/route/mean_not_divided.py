import numpy as np

class BatchNorm2d:
    def __init__(self, channels, eps=1e-5):
        self.gamma, self.beta = np.ones((1, channels, 1, 1)), np.zeros((1, channels, 1, 1))
        self.eps = eps

    def forward(self, x):
        self.mu = x.mean(axis=(0, 2, 3), keepdims=True)
        self.xc = x - self.mu
        self.inv = 1 / np.sqrt((self.xc ** 2).mean(axis=(0, 2, 3), keepdims=True) + self.eps)
        self.xh = self.xc * self.inv
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        m = dout.size / dout.shape[1]
        self.dgamma = (dout * self.xh).sum(axis=(0, 2, 3), keepdims=True)
        self.dbeta = dout.sum(axis=(0, 2, 3), keepdims=True)
        dxh = dout * self.gamma
        dvar = (dxh * self.xc).sum(axis=(0, 2, 3), keepdims=True) * -.5 * self.inv ** 3
        dmu = -(dxh * self.inv).sum(axis=(0, 2, 3), keepdims=True)
        return dxh * self.inv + dvar * 2 * self.xc / m + dmu
