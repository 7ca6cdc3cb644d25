import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.params = {'gamma': np.ones(num_features), 'beta': np.zeros(num_features)}
        self.grads = {}
        self.eps = eps

    def forward(self, x):
        self.mean = x.mean(axis=0)
        self.var = x.var(axis=0)
        self.x_hat = (x - self.mean) / np.sqrt(self.var + self.eps)
        return self.params['gamma'] * self.x_hat + self.params['beta']

    def backward(self, dout):
        N = len(dout)
        self.grads['gamma'] = np.sum(dout * self.x_hat, axis=0)
        self.grads['beta'] = np.sum(dout, axis=0)
        dx_hat = dout * self.params['gamma']
        return (dx_hat - dx_hat.sum(0) / N - self.x_hat * (dx_hat * self.x_hat).sum(0) / N) / np.sqrt(self.var + self.eps)
