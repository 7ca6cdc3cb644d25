import numpy as np


class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.eps = eps
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)

    def forward(self, x):
        self.x = x
        self.mu = np.mean(x, axis=0)
        self.var = np.var(x, axis=0)
        self.x_hat = (x - self.mu) / np.sqrt(self.var + self.eps)
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        N = dout.shape[0]
        dgamma = np.sum(dout * self.x_hat, axis=0)
        dbeta = np.sum(dout, axis=0)
        dx_hat = dout * self.gamma
        dvar = np.sum(dx_hat * (self.x - self.mu) * -0.5 * (self.var + self.eps) ** -1.5, axis=0)
        dmu = np.sum(-dx_hat / np.sqrt(self.var + self.eps), axis=0)
        dx = dx_hat / np.sqrt(self.var + self.eps) + dvar * 2 * (self.x - self.mu) / N + dmu / N
        return dx, dgamma, dbeta
