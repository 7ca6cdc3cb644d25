import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.gamma = np.ones(num_features)  # TODO learn them
        self.beta = np.zeros(num_features)
        self.eps = eps

    def forward(self, x):
        self.x = x
        self.mean = x.mean(axis=0)
        self.var = x.var(axis=0)
        return self.gamma * (x - self.mean) / np.sqrt(self.var + self.eps) + self.beta

    def backward(self, dout):
        N = self.x.shape[0]
        xmu = self.x - self.mean
        inv = 1. / np.sqrt(self.var + self.eps)
        d = dout * self.gamma
        return (1. / N) * inv * (N * d - np.sum(d, axis=0) - xmu * inv ** 2 * np.sum(d * xmu, axis=0))
