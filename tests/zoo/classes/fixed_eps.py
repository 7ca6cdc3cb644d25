import numpy as np

class BatchNorm:
    def __init__(self, dim):
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)

    def forward(self, x):
        self.mu = x.mean(0)
        self.var = x.var(0)
        self.hat = (x - self.mu) / (self.var + 1e-2) ** .5
        return self.gamma * self.hat + self.beta

    def backward(self, dy):
        self.dgamma = (dy * self.hat).sum(0)
        self.dbeta = dy.sum(0)
        dh = dy * self.gamma
        # Var = E[(x - mu)^2], so dVar/dx_i = 2 (x_i - mu) / N
        dvar = (dh * (self.x_minus_mu if hasattr(self, "x_minus_mu") else self.hat * (self.var + 1e-2) ** .5)).sum(0)
        dvar *= -.5 * (self.var + 1e-2) ** -1.5
        dx = dh / (self.var + 1e-2) ** .5
        dx += dvar * 2 * self.hat * (self.var + 1e-2) ** .5 / len(dy)
        dx -= dx.mean(0)
        return dx
