import numpy as np

class BatchNormLayer:
    def __init__(self, D, eps=1e-5):
        self.W, self.b, self.eps = np.ones(D), np.zeros(D), eps

    def forward(self, x):
        self.x, self.mean, self.var = x, x.mean(0), x.var(0)
        self.xn = (x - self.mean) / np.sqrt(self.var + self.eps)
        return self.W * self.xn + self.b

    def backward(self, dy):
        m = dy.shape[0]
        self.dW, self.db = (dy * self.xn).sum(0), dy.sum(0)
        dxn = dy * self.W
        dvar = (dxn * (self.x - self.mean)).sum(0) * -0.5 * (self.var + self.eps) ** (-0.5)
        dmean = (-dxn / np.sqrt(self.var + self.eps)).sum(0)
        return dxn / np.sqrt(self.var + self.eps) + dvar * 2 * (self.x - self.mean) / m + dmean / m
