import numpy as np

class BatchNormLayer:
    # one row per neuron, one column per sample; gamma stays a flat vector
    def __init__(self, n_neurons, eps=1e-5):
        self.gamma = np.ones(n_neurons)
        self.beta = np.zeros(n_neurons)
        self.eps = eps

    def forward(self, s):
        self.s = s
        self.m = s.mean(axis=1)
        self.v = s.var(axis=1)
        self.sh = ((s.T - self.m) / np.sqrt(self.v + self.eps)).T
        return (self.gamma * self.sh.T + self.beta).T

    def backward(self, g):
        n = g.shape[1]
        self.dbeta = g.sum(axis=1)
        self.dgamma = (g * self.sh).sum(axis=1)
        G = g * self.gamma[:, None]
        G1 = G * (self.v + self.eps)[:, None] ** -0.5
        G2 = G * (self.v + self.eps)[:, None] ** -1.5
        D = self.s - self.m[:, None]
        c = (G2 * D).sum(axis=1, keepdims=True)
        return G1 - G1.sum(axis=1, keepdims=True) / n - D * c / n
