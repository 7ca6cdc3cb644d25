import numpy as np

class BatchNormalization:
    """gamma and beta are rows, their gradients come out of np.sum as vectors"""
    def __init__(self, n_in, eps=1e-5):
        self.gamma = np.ones((1, n_in))
        self.beta = np.zeros((1, n_in))
        self.eps = eps

    def forward(self, x, train=True):
        self.ivar = 1. / np.sqrt(x.var(axis=0) + self.eps)
        self.xhat = (x - x.mean(axis=0)) * self.ivar
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        N = dout.shape[0]
        self.dbeta = np.sum(dout, axis=0)
        self.dgamma = np.sum(dout * self.xhat, axis=0)
        return self.gamma * self.ivar / N * (N * dout - self.dbeta - self.xhat * self.dgamma)

    def update(self, lr):
        self.gamma -= lr * self.dgamma
        self.beta -= lr * self.dbeta
