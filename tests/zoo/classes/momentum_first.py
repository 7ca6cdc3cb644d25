import numpy as np

class BatchNorm:
    def __init__(self, momentum=0.9, eps=1e-5):
        self.momentum = momentum
        self.eps = eps
        self.gamma, self.beta = None, None
        self.r_mean, self.r_var = None, None

    def forward(self, x, mode='train'):
        if self.r_mean is None:
            self.r_mean, self.r_var = np.zeros(x.shape[1]), np.ones(x.shape[1])
        if self.gamma is None:
            self.gamma, self.beta = np.ones(x.shape[1]), np.zeros(x.shape[1])
        if mode == 'train':
            mu, var = x.mean(axis=0), x.var(axis=0)
            self.r_mean = self.momentum * self.r_mean + (1 - self.momentum) * mu
            self.r_var = self.momentum * self.r_var + (1 - self.momentum) * var
        else:
            mu, var = self.r_mean, self.r_var
        self.inv = 1 / np.sqrt(var + self.eps)
        self.xn = (x - mu) * self.inv
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        N = dout.shape[0]
        self.dbeta = dout.sum(axis=0)
        self.dgamma = (dout * self.xn).sum(axis=0)
        return self.gamma * self.inv / N * (N * dout - self.dbeta - self.xn * self.dgamma)
