import numpy as np

class BatchNorm:
    def __init__(self, num_features, momentum=0.9, eps=1e-5):
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.momentum, self.eps = momentum, eps
        self.running_mean = self.running_var = None

    def forward(self, x, training=True):
        if not training:
            return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + self.beta
        mean, var = x.mean(axis=0), x.var(axis=0)
        if self.running_mean is None:
            self.running_mean, self.running_var = mean, var
        else:
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        self.xh = (x - mean) / np.sqrt(var + self.eps)
        return self.gamma * self.xh + self.beta

    def backward(self, dout):
        N = dout.shape[0]
        self.dgamma = np.sum(dout * self.xh, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        inv = 1 / np.sqrt(self.running_var + self.eps)
        return self.gamma * inv * (dout - self.dbeta / N - self.xh * self.dgamma / N)
