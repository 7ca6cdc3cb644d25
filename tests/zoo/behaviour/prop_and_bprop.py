import numpy as np

class BatchNorm:
    def __init__(self, nin, eps=1e-4):
        self.gamma = np.ones(nin)
        self.beta = np.zeros(nin)
        self.eps = eps

    def prop(self, x):
        self.istd = (x.var(0) + self.eps) ** -0.5
        self.z = (x - x.mean(0)) * self.istd
        return self.z * self.gamma + self.beta

    def bprop(self, dy):
        self.dgamma = (dy * self.z).sum(0)
        self.dbeta = dy.sum(0)
        return self.gamma * self.istd * (dy - self.dbeta / len(dy) - self.z * self.dgamma / len(dy))
