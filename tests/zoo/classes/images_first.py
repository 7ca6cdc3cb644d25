import numpy as np

class BatchNorm2d:
    def __init__(self, num_features, eps=1e-5, momentum=0.9):
        shape = (1, num_features, 1, 1)
        self.eps, self.momentum = eps, momentum
        self.gamma, self.beta = np.ones(shape), np.zeros(shape)
        self.running_mean, self.running_var = np.zeros(shape), np.ones(shape)

    def forward(self, x, train=True):
        if train:
            self.mu = x.mean(axis=(0, 2, 3), keepdims=True)
            self.var = x.var(axis=(0, 2, 3), keepdims=True)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * self.mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * self.var
        else:
            self.mu, self.var = self.running_mean, self.running_var
        self.istd = 1.0 / np.sqrt(self.var + self.eps)
        self.xc = x - self.mu
        self.xhat = self.xc * self.istd
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        axes = (0, 2, 3)
        m = dout.shape[0] * dout.shape[2] * dout.shape[3]
        self.dbeta = dout.sum(axis=axes, keepdims=True)
        self.dgamma = (dout * self.xhat).sum(axis=axes, keepdims=True)
        dxhat = dout * self.gamma
        dvar = (dxhat * self.xc).sum(axis=axes, keepdims=True) * -0.5 * self.istd ** 3
        dmu = (-dxhat * self.istd).sum(axis=axes, keepdims=True)
        return dxhat * self.istd + dvar * 2.0 * self.xc / m + dmu / m
