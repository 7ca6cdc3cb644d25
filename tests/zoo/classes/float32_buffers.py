import numpy as np

class BatchNorm(object):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        # float32 saves memory; only the statistics for test time stay in it
        self.gamma = np.ones(num_features, dtype=np.float32)
        self.beta = np.zeros(num_features, dtype=np.float32)
        self.running_mean = np.zeros(num_features, dtype=np.float32)
        self.running_var = np.ones(num_features, dtype=np.float32)
        self.eps, self.momentum = eps, momentum
        self.train = True

    def forward(self, x):
        if self.train:
            mu, var = x.mean(0), x.var(0)
            self.running_mean += (self.momentum * (mu - self.running_mean)).astype(np.float32)
            self.running_var += (self.momentum * (var - self.running_var)).astype(np.float32)
        else:
            mu, var = self.running_mean, self.running_var
        self.inv = 1 / np.sqrt(var + self.eps)
        self.xn = (x - mu) * self.inv
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.xn, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        return self.gamma * self.inv * (dout - dout.mean(0) - self.xn * np.mean(dout * self.xn, 0))
