import numpy as np

class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.params = {"gamma": np.ones(n), "beta": np.zeros(n)}
        self.grads = {}
        self.cache = {}
        self.eps = eps

    def forward(self, x):
        self.cache["std"] = np.sqrt(x.var(axis=0) + self.eps)
        self.cache["xhat"] = (x - x.mean(axis=0)) / self.cache["std"]
        return self.params["gamma"] * self.cache["xhat"] + self.params["beta"]

    def backward(self, dout):
        xhat, std = self.cache["x_hat"], self.cache["std"]
        self.grads["gamma"], self.grads["beta"] = (dout * xhat).sum(0), dout.sum(0)
        return self.params["gamma"] / std * (dout - dout.mean(0) - xhat * (dout * xhat).mean(0))
