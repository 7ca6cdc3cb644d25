import numpy as np

class BatchNorm:
    def __init__(self, n_in, eps=1e-5):
        self.params = {"gamma": np.ones((1, n_in)), "beta": np.zeros((1, n_in))}
        self.grads = {"gamma": None, "beta": None}
        self.eps = eps

    def forward(self, X):
        self.batch_size = X.shape[0]
        self.inv = 1 / np.sqrt(X.var(axis=0, keepdims=True) + self.eps)
        self.Xh = (X - X.mean(axis=0, keepdims=True)) * self.inv
        return self.params["gamma"] * self.Xh + self.params["beta"]

    def backward(self, g):
        self.grads["gamma"] = np.sum(g * self.Xh, axis=0, keepdims=True) / self.batch_size
        self.grads["beta"] = np.sum(g, axis=0, keepdims=True) / self.batch_size
        g = g * self.params["gamma"]
        return self.inv * (g - g.mean(axis=0, keepdims=True) - self.Xh * (g * self.Xh).mean(axis=0, keepdims=True))
