import numpy as np


class BatchNormalization:
    def __init__(self, n_units, eps=1e-8):
        self.n_units = n_units
        self.eps = eps
        self.gamma = np.ones(n_units)
        self.beta = np.zeros(n_units)

    def forward(self, x):
        mean, var = np.mean(x, axis=0), np.var(x, axis=0)
        x_centered = x - mean
        std_inv = 1 / np.sqrt(var + self.eps)
        x_norm = x_centered * std_inv
        out = self.gamma * x_norm + self.beta
        cache = {"x_centered": x_centered, "std_inv": std_inv, "x_norm": x_norm}
        return out, cache

    def backward(self, dout, cache):
        x_centered, std_inv, x_norm = cache["x_centered"], cache["std_inv"], cache["x_norm"]
        N = dout.shape[0]
        dgamma = np.sum(dout * x_norm, axis=0)
        dbeta = np.sum(dout, axis=0)
        dx_norm = dout * self.gamma
        dvar = np.sum(dx_norm * x_centered * -0.5 * std_inv**3, axis=0)
        dmean = np.sum(dx_norm * -std_inv, axis=0) + dvar * np.mean(-2.0 * x_centered, axis=0)
        return (dx_norm * std_inv) + (dvar * 2.0 * x_centered / N) + (dmean / N), dgamma, dbeta
