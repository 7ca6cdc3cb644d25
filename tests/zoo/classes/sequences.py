import numpy as np

class BatchNorm1d:
    """(N, C) or (N, C, L)"""
    def __init__(self, num_features, eps=1e-5):
        self.num_features = num_features
        self.eps = eps
        self.weight = np.ones(num_features)
        self.bias = np.zeros(num_features)

    def forward(self, x):
        if x.ndim == 2:
            ax, sh = 0, (1, -1)
        elif x.ndim == 3:
            ax, sh = (0, 2), (1, -1, 1)
        else:
            raise ValueError("expected 2D or 3D input (got {}D input)".format(x.ndim))
        mu = x.mean(axis=ax, keepdims=True)
        self.rstd = 1 / np.sqrt(x.var(axis=ax, keepdims=True) + self.eps)
        self.xhat = (x - mu) * self.rstd
        self.ax, self.sh = ax, sh
        return self.xhat * self.weight.reshape(sh) + self.bias.reshape(sh)

    def backward(self, dy):
        ax, sh = self.ax, self.sh
        self.dweight = (dy * self.xhat).sum(axis=ax)
        self.dbias = dy.sum(axis=ax)
        g = dy * self.weight.reshape(sh)
        return self.rstd * (g - g.mean(axis=ax, keepdims=True) - self.xhat * (g * self.xhat).mean(axis=ax, keepdims=True))
