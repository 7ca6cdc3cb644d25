import numpy as np

class BatchNormalization:
    def __init__(self, in_dim, epsilon=1e-5):
        self.gamma, self.beta, self.epsilon = np.ones(in_dim), np.zeros(in_dim), epsilon

    def forward(self, x):
        self.sigma = np.sqrt(np.var(x, 0) + self.epsilon)
        self.xh = (x - np.mean(x, 0)) / self.sigma
        return self.gamma * self.xh + self.beta

    def backward(self, dy):
        dgamma = np.average(dy * self.xh, axis=0)
        dbeta = np.sum(dy, axis=0)
        dx = self.gamma / self.sigma * (dy - dbeta / len(dy) - self.xh * dgamma)
        return dx, dgamma, dbeta
