import numpy as np

class BN:
    def __init__(self, epsilon=1e-8, input_dim=None):
        self.epsilon = epsilon
        self.gamma = np.ones(input_dim) if input_dim else np.ones(1)
        self.beta = np.zeros(input_dim) if input_dim else np.zeros(1)

    def forward(self, inputs):
        self.inputs = inputs
        self.mu = np.mean(inputs, axis=0)
        self.var = np.var(inputs, axis=0)
        self.hat = (inputs - self.mu) / np.sqrt(self.var + self.epsilon)
        return self.gamma * self.hat + self.beta

    def backward(self, dvalues):
        N = dvalues.shape[0]
        centred = self.inputs - self.mu
        isd = 1. / np.sqrt(self.var + self.epsilon)
        self.dgamma = np.sum(dvalues * self.hat, axis=0)
        self.dbeta = np.sum(dvalues, axis=0)
        dhat = dvalues * self.gamma
        dvar = np.sum(dhat * centred, axis=0) * -.5 * isd**3
        dmu = np.sum(dhat * -isd, axis=0) + dvar * np.mean(-2. * centred, axis=0)
        self.dinputs = (dhat * isd) + (dvar * 2 * centred / N) + (dmu / N)
        return self.dinputs
