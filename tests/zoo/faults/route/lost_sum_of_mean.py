import numpy as np

class BatchNormalization:
    def __init__(self, size, eps=1e-8):
        self.gamma = np.ones(size); self.beta = np.zeros(size); self.eps = eps

    def forward(self, X):
        self.X = X
        self.mu, self.var = np.mean(X, axis=0), np.var(X, axis=0)
        self.X_norm = (X - self.mu) / np.sqrt(self.var + self.eps)
        return self.gamma * self.X_norm + self.beta

    def backward(self, dout):
        N = dout.shape[0]
        self.grad_gamma = np.sum(dout * self.X_norm, axis=0)
        self.grad_beta = np.sum(dout, axis=0)
        s = np.sqrt(self.var + self.eps)
        dX_norm = dout * self.gamma
        dvar = np.sum(dX_norm * (self.X - self.mu), axis=0) * -.5 / s ** 3
        dmu = dX_norm * -1 / s
        return dX_norm / s + dvar * 2 * (self.X - self.mu) / N + dmu / N
