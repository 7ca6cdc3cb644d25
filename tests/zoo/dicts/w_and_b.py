import numpy as np

class BatchNorm:
    def __init__(self, n, epsilon=1e-5):
        self.params = dict(W=np.ones(n), b=np.zeros(n))
        self.grads = dict(W=None, b=None)
        self.epsilon = epsilon

    def forward(self, x, is_training=True):
        mu = x.mean(0)
        self.isd = (x.var(0) + self.epsilon) ** -0.5
        self.xh = (x - mu) * self.isd
        return self.xh * self.params["W"] + self.params["b"]

    def backward(self, grad):
        self.grads["b"] = grad.sum(0)
        self.grads["W"] = (grad * self.xh).sum(0)
        g = grad * self.params["W"]
        return self.isd * (g - g.mean(0) - self.xh * (g * self.xh).mean(0))
