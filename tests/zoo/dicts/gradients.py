import numpy as np

class BatchNorm:
    def __init__(self, n_features, eps=1e-5):
        self.gamma = np.ones(n_features)
        self.beta = np.zeros(n_features)
        self.eps = eps
        self.gradients = {"dgamma": None, "dbeta": None, "dx": None}
        self.cache = None

    def forward(self, x):
        mean = np.mean(x, axis=0)
        var = np.var(x, axis=0)
        xn = (x - mean) / np.sqrt(var + self.eps)
        self.cache = (xn, var)
        return self.gamma * xn + self.beta

    def backward(self, dout):
        xn, var = self.cache
        n = dout.shape[0]
        dbeta = dout.sum(axis=0)
        dgamma = (dout * xn).sum(axis=0)
        dx = self.gamma / np.sqrt(var + self.eps) / n * (n * dout - dbeta - xn * dgamma)
        self.gradients.update(dgamma=dgamma, dbeta=dbeta, dx=dx)
        return dx
