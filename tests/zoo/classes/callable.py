import numpy as np

class BatchNorm:
    def __init__(self, dim, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(dim), np.zeros(dim), eps

    def __call__(self, x):
        xmean, xvar = x.mean(0, keepdims=True), x.var(0, keepdims=True)
        self.bnvar_inv = (xvar + self.eps) ** -0.5
        self.xhat = (x - xmean) * self.bnvar_inv
        self.out = self.gamma * self.xhat + self.beta
        return self.out

    def backward(self, dout):
        n = dout.shape[0]
        self.dgamma = (dout * self.xhat).sum(0)
        self.dbeta = dout.sum(0)
        return self.gamma * self.bnvar_inv / n * (n * dout - dout.sum(0) - self.xhat * (dout * self.xhat).sum(0))
