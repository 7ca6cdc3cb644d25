import numpy as np

class BatchNormalization:
    def __init__(self, input_size, epsilon=1e-5):
        self.gamma, self.beta, self.epsilon = np.ones(input_size), np.zeros(input_size), epsilon

    def forward(self, x):
        return self.gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + self.epsilon) + self.beta

    def backward(self, dout):
        raise NotImplementedError("the derivation is left for later")
