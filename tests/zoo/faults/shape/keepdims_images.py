import numpy as np

class BatchNorm2d:
    def __init__(self, num_features, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(num_features), np.zeros(num_features), eps

    def forward(self, x):
        self.isd = 1 / np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + self.eps)
        self.xh = (x - x.mean(axis=(0, 2, 3), keepdims=True)) * self.isd
        return self.gamma.reshape(1, -1, 1, 1) * self.xh + self.beta.reshape(1, -1, 1, 1)

    def backward(self, dout):
        m = dout.size // dout.shape[1]
        self.dgamma = (dout * self.xh).sum(axis=(0, 2, 3), keepdims=True)
        self.dbeta = dout.sum(axis=(0, 2, 3))
        db = self.dbeta.reshape(1, -1, 1, 1)
        return self.gamma.reshape(1, -1, 1, 1) * self.isd * (dout - db / m - self.xh * self.dgamma / m)
