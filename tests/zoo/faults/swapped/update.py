import numpy as np

class BatchNormalization:
    def __init__(self, n_features, epsilon=1e-5):
        self.gamma = np.ones(n_features)
        self.beta = np.zeros(n_features)
        self.epsilon = epsilon

    def forward(self, X):
        self.sd = np.sqrt(X.var(axis=0) + self.epsilon)
        self.Xn = (X - X.mean(axis=0)) / self.sd
        return self.gamma * self.Xn + self.beta

    def backward(self, error, learning_rate):
        g = error * self.gamma
        dX = (g - g.mean(axis=0) - self.Xn * (g * self.Xn).mean(axis=0)) / self.sd
        self.gamma = self.gamma - learning_rate * error.sum(axis=0)
        self.beta = self.beta - learning_rate * (error * self.Xn).sum(axis=0)
        return dX
