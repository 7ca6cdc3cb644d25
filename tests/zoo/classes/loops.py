import numpy as np

class BatchNormLoops:
    def __init__(self, n_inputs, eps=1e-5):
        self.n_inputs = n_inputs
        self.eps = eps
        self.gamma = np.ones(n_inputs)
        self.beta = np.zeros(n_inputs)

    def forward(self, x):
        self.x = x
        self.y = np.zeros(x.shape, dtype=x.dtype)
        self.means, self.stds = [], []
        for f in range(self.n_inputs):
            col = x[:, f]
            m = sum(col) / len(col)
            s = np.sqrt(sum((v - m) ** 2 for v in col) / len(col) + self.eps)
            self.means.append(m)
            self.stds.append(s)
            self.y[:, f] = [(v - m) / s for v in col]
        return self.y * self.gamma + self.beta

    def backward(self, dout):
        dx = np.zeros_like(dout)
        self.dgamma = np.zeros(self.n_inputs)
        self.dbeta = np.zeros(self.n_inputs)
        for f in range(self.n_inputs):
            d, y = dout[:, f], self.y[:, f]
            self.dgamma[f] = sum(a * b for a, b in zip(d, y))
            self.dbeta[f] = sum(d)
            for i in range(len(d)):
                dx[i, f] = self.gamma[f] / self.stds[f] * (d[i] - self.dbeta[f] / len(d) - y[i] * self.dgamma[f] / len(d))
        return dx
