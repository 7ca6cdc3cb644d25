import numpy as np

class Normalise:
    def __init__(self, epsilon=1e-8):
        self.epsilon = epsilon

    def forward(self, x):
        return (x - np.mean(x, axis=0)) / np.sqrt(np.var(x, axis=0) + self.epsilon)

    def backward(self, grad):
        return grad
