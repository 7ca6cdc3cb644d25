import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5, momentum=0.9):
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)
        self.eps, self.momentum = eps, momentum

    def forward(self, x, training=True):
        self.mean = x.mean(axis=0)
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - self.mean) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        self.dgamma = (dout * self.x_hat).sum(axis=0)
        self.dbeta = dout.sum(axis=0)
        dx_hat = dout * self.gamma
        dmean = -(dx_hat / self.std).sum(axis=0)
        return dx_hat / self.std + dmean / dout.shape[0]
