import numpy as np

class BatchNormalization:
    def __init__(self, input_dim, epsilon=1e-5):
        self.epsilon = epsilon
        self.input_dim = input_dim
        self.init_weights()

    def forward(self, x):
        self.s = np.sqrt(x.var(axis=0) + self.epsilon)
        self.h = (x - x.mean(axis=0)) / self.s
        return self.gamma * self.h + self.beta

    def backward(self, dout):
        dgamma, dbeta = (dout * self.h).sum(axis=0), dout.sum(axis=0)
        return self.gamma / self.s * (dout - dbeta / len(dout) - self.h * dgamma / len(dout)), dgamma, dbeta
