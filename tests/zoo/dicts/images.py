import numpy as np

class BatchNorm2d:
    def __init__(self, num_features, eps=1e-5):
        self.params = {"gamma": np.ones(num_features), "beta": np.zeros(num_features)}
        self.grads = {"gamma": np.zeros(num_features), "beta": np.zeros(num_features)}
        self.eps = eps

    def forward(self, x):
        xt = np.moveaxis(x, 1, -1)
        self.inv = 1 / np.sqrt(xt.var(axis=(0, 1, 2)) + self.eps)
        self.xhat = (xt - xt.mean(axis=(0, 1, 2))) * self.inv
        return np.moveaxis(self.params["gamma"] * self.xhat + self.params["beta"], -1, 1)

    def backward(self, dout):
        d = np.moveaxis(dout, 1, -1)
        self.grads["gamma"] = (d * self.xhat).sum(axis=(0, 1, 2))
        self.grads["beta"] = d.sum(axis=(0, 1, 2))
        m = d[..., 0].size
        dx = self.params["gamma"] * self.inv * (d - (self.grads["beta"] + self.xhat * self.grads["gamma"]) / m)
        return np.moveaxis(dx, -1, 1)
