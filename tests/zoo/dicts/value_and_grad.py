import numpy as np

class BatchNormalization:
    def __init__(self, in_dim, eps=1e-5):
        self.eps = eps
        self.gamma = {"val": np.ones((1, in_dim)), "grad": np.zeros((1, in_dim))}
        self.beta = {"val": np.zeros((1, in_dim)), "grad": np.zeros((1, in_dim))}

    def forward(self, x):
        self.xc = x - x.mean(axis=0, keepdims=True)
        self.std = np.sqrt(np.mean(self.xc ** 2, axis=0, keepdims=True) + self.eps)
        self.xn = self.xc / self.std
        return self.gamma["val"] * self.xn + self.beta["val"]

    def backward(self, dout):
        self.gamma["grad"] = np.sum(dout * self.xn, axis=0, keepdims=True)
        self.beta["grad"] = np.sum(dout, axis=0, keepdims=True)
        m = dout.shape[0]
        return self.gamma["val"] / self.std / m * (m * dout - self.beta["grad"] - self.xn * self.gamma["grad"])
