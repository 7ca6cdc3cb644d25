import numpy as np

class BatchNorm:
    def __init__(self, n_in, eps=1e-5):
        self.eps = eps
        self.params = {"gamma": np.ones(n_in), "beta": np.zeros(n_in)}
        self.grads = {}

    def forward(self, x):
        self.x, self.mu, self.var = x, x.mean(0), x.var(0)
        self.norm = (x - self.mu) / np.sqrt(self.var + self.eps)
        return self.params["gamma"] * self.norm + self.params["beta"]

    def backward(self, dout):
        m = self.x.shape[0]
        self.grads["gamma"] = np.sum(dout * self.norm, axis=0)
        self.grads["beta"] = np.sum(dout, axis=0)
        dn = dout * self.params["gamma"]
        dvar = np.sum(dn + (self.x - self.mu), axis=0) * -0.5 * (self.var + self.eps) ** -1.5
        dmu = -np.sum(dn, axis=0) / np.sqrt(self.var + self.eps)
        return dn / np.sqrt(self.var + self.eps) + dvar * 2 * (self.x - self.mu) / m + dmu / m
