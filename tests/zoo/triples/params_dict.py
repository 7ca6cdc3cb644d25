import numpy as np

class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.params = {"gamma": np.ones(num_features), "beta": np.zeros(num_features)}
        self.eps = eps

    def forward(self, x, training=True):
        if not training:
            raise NotImplementedError("TODO")
        self.mean = x.mean(axis=0)
        self.istd = 1 / np.sqrt(x.var(axis=0) + self.eps)
        self.xhat = (x - self.mean) * self.istd
        return self.params["gamma"] * self.xhat + self.params["beta"]

    def backward(self, dout):
        dbeta = dout.sum(axis=0)
        dgamma = (dout * self.xhat).sum(axis=0)
        dx = dout - dbeta / len(dout) - self.xhat * dgamma / len(dout)
        dx *= self.params["gamma"] * self.istd
        return dx, dgamma, dbeta
