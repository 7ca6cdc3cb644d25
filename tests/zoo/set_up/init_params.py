import numpy as np

class BatchNorm:
    def __init__(self, eps=1e-5):
        self.eps = eps
        self.params, self.grads = {}, {}

    def init_params(self, shape):
        self.params['gamma'] = np.ones(shape)
        self.params['beta'] = np.zeros(shape)

    def forward(self, x):
        self.std = np.sqrt(x.var(0) + self.eps)
        self.norm = (x - x.mean(0)) / self.std
        return self.params['gamma'] * self.norm + self.params['beta']

    def backward(self, dout):
        self.grads['gamma'] = (dout * self.norm).sum(0)
        self.grads['beta'] = dout.sum(0)
        g = dout * self.params['gamma']
        return (g - g.mean(0) - self.norm * (g * self.norm).mean(0)) / self.std
