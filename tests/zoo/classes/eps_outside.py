import numpy as np

class BatchNorm:
    def __init__(self, n_out, eps=1e-3):
        self.gamma = np.ones((1, n_out))
        self.beta = np.zeros((1, n_out))
        self.eps = eps

    def forward(self, a):
        self.centred = a - np.mean(a, axis=0, keepdims=True)
        self.raw_std = np.std(a, axis=0, keepdims=True)
        self.std = self.raw_std + self.eps
        self.n_a = self.centred / self.std
        return self.gamma * self.n_a + self.beta

    def backward(self, d):
        m = d.shape[0]
        self.dgamma = np.sum(d * self.n_a, axis=0, keepdims=True)
        self.dbeta = np.sum(d, axis=0, keepdims=True)
        dn = d * self.gamma
        dstd = np.sum(-dn * self.centred / self.std ** 2, axis=0, keepdims=True)
        dc = dn / self.std + dstd * self.centred / (m * self.raw_std)
        return dc - np.sum(dc, axis=0, keepdims=True) / m
