import numpy as np

class BatchNorm2D:
    def __init__(self, channels, eps=1e-5):
        self.gamma = np.ones(channels)
        self.beta = np.zeros(channels)
        self.eps = eps

    def forward(self, x):
        t = lambda v: v[None, :, None, None]
        mu, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        self.rs = t(1 / np.sqrt(var + self.eps))
        self.xn = (x - t(mu)) * self.rs
        return t(self.gamma) * self.xn + t(self.beta)

    def backward(self, dout, lr=0.001):
        t = lambda v: v[None, :, None, None]
        m = dout.size / dout.shape[1]
        dg, db = (dout * self.xn).sum((0, 2, 3)), dout.sum((0, 2, 3))
        dx = t(self.gamma) * self.rs * (dout - t(db) / m - self.xn * t(dg) / m)
        self.gamma -= lr * dg
        self.beta -= lr * db
        return dx
