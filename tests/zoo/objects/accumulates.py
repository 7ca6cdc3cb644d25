import numpy as np

class Param:
    def __init__(self, value):
        self.value = value
        self.grad = np.zeros(value.shape)

class BatchNormalization:
    def __init__(self, n, eps=1e-5):
        self.weight = Param(np.ones(n))
        self.bias = Param(np.zeros(n))
        self.eps = eps

    def params(self):
        return {"weight": self.weight, "bias": self.bias}

    def forward(self, X):
        mu = X.mean(axis=0)
        self.inv = 1 / np.sqrt(((X - mu) ** 2).mean(axis=0) + self.eps)
        self.Xn = (X - mu) * self.inv
        return self.Xn * self.weight.value + self.bias.value

    def backward(self, d_out):
        self.weight.grad += (d_out * self.Xn).sum(axis=0)
        self.bias.grad += d_out.sum(axis=0)
        d = d_out * self.weight.value
        return self.inv * (d - d.mean(axis=0) - self.Xn * (d * self.Xn).mean(axis=0))
