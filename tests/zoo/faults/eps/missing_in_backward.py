import numpy as np

class BatchNormLayer:
    def __init__(self, n_in, epsilon=1e-3):
        self.gamma, self.beta, self.epsilon = np.ones((1, n_in)), np.zeros((1, n_in)), epsilon

    def forward(self, x):
        self.var = x.var(axis=0, keepdims=True)
        self.xc = x - x.mean(axis=0, keepdims=True)
        self.xh = self.xc / np.sqrt(self.var + self.epsilon)
        return self.gamma * self.xh + self.beta

    def backward(self, d):
        m = d.shape[0]
        dgamma, dbeta = (d * self.xh).sum(axis=0, keepdims=True), d.sum(axis=0, keepdims=True)
        dx = self.gamma / np.sqrt(self.var) * (d - dbeta / m - self.xh * dgamma / m)
        return dx, dgamma, dbeta
