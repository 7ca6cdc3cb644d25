import numpy as np

class Layer_BatchNorm:
    def __init__(self, n_inputs, epsilon=1e-7):
        self.gamma = np.ones((1, n_inputs))
        self.beta = np.zeros((1, n_inputs))
        self.epsilon = epsilon

    def forward(self, inputs, training):
        mean = np.mean(inputs, axis=0, keepdims=True)
        self.std = np.sqrt(np.var(inputs, axis=0, keepdims=True) + self.epsilon)
        self.xhat = (inputs - mean) / self.std
        self.output = self.gamma * self.xhat + self.beta

    def backward(self, dvalues):
        self.dgamma = np.sum(dvalues * self.xhat, axis=0, keepdims=True)
        self.dbeta = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = dvalues * self.gamma / self.std
