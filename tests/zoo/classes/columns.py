import numpy as np

class BatchNorm:
    # X is (features, examples)
    def __init__(self, n_in, eps=1e-8):
        self.gamma = np.ones((n_in, 1))
        self.beta = np.zeros((n_in, 1))
        self.eps = eps
        self.cache = {}

    def forward(self, A):
        mu = A.mean(axis=1, keepdims=True)
        sigma2 = A.var(axis=1, keepdims=True)
        A_norm = (A - mu) / np.sqrt(sigma2 + self.eps)
        self.cache["A_norm"] = A_norm
        self.cache["ivar"] = 1. / np.sqrt(sigma2 + self.eps)
        return np.multiply(self.gamma, A_norm) + self.beta

    def backward(self, dZ):
        A_norm, ivar = self.cache["A_norm"], self.cache["ivar"]
        m = A_norm.shape[1]
        self.d_gamma = np.sum(np.multiply(dZ, A_norm), axis=1, keepdims=True)
        self.d_beta = np.sum(dZ, axis=1, keepdims=True)
        return self.gamma * ivar * (dZ - self.d_beta / m - A_norm * self.d_gamma / m)
