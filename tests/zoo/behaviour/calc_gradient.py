import numpy as np


class BatchNormalizer:
    def __init__(self, size, epsilon=1e-5):
        self.gamma = np.ones(size)
        self.beta = np.zeros(size)
        self.epsilon = epsilon

    def zero_grad(self):
        self.dgamma = np.zeros_like(self.gamma)
        self.dbeta = np.zeros_like(self.beta)

    def calc_output(self, data):
        mean, var = data.mean(axis=0), data.var(axis=0)
        self.deviation = np.sqrt(var + self.epsilon)
        self.normed = (data - mean) / self.deviation
        return self.normed * self.gamma + self.beta

    def calc_gradient(self, error):
        m = error.shape[0]
        self.dbeta = error.sum(axis=0)
        self.dgamma = (error * self.normed).sum(axis=0)
        return self.gamma / (m * self.deviation) * (m * error - self.dbeta - self.normed * self.dgamma)
