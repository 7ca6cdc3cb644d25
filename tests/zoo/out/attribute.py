import numpy as np

class BatchNormLayer:
    def __init__(self, n_in, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(n_in), np.zeros(n_in), eps
        self.output = None

    def forward(self, inputs):
        self.inputs = inputs
        self.std = np.sqrt(np.var(inputs, axis=0) + self.eps)
        self.normalized = (inputs - np.mean(inputs, axis=0)) / self.std
        self.output = self.gamma * self.normalized + self.beta

    def backward(self, dvalues):
        self.dgamma = np.sum(dvalues * self.normalized, axis=0)
        self.dbeta = np.sum(dvalues, axis=0)
        d = dvalues * self.gamma
        self.dinputs = (d - d.mean(axis=0) - self.normalized * (d * self.normalized).mean(axis=0)) / self.std
