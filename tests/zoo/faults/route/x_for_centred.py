import numpy as np

class BatchNorm:
    def __init__(self, dim, eps=1e-5):
        self.dim, self.eps = dim, eps
        self.gamma = {"val": np.ones(dim), "grad": None}
        self.beta = {"val": np.zeros(dim), "grad": None}

    def forward(self, x):
        self.x = x
        self.mu, self.var = x.mean(0), x.var(0)
        self.xh = (x - self.mu) / np.sqrt(self.var + self.eps)
        return self.gamma["val"] * self.xh + self.beta["val"]

    def backward(self, d):
        N = d.shape[0]
        self.gamma["grad"], self.beta["grad"] = (d * self.xh).sum(0), d.sum(0)
        dxh = d * self.gamma["val"]
        s = np.sqrt(self.var + self.eps)
        dvar = (dxh * self.x).sum(0) * (-0.5) / s ** 3
        dmu = -dxh.sum(0) / s
        return dxh / s + dvar * 2 * (self.x - self.mu) / N + dmu / N
