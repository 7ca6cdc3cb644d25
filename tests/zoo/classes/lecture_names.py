import numpy as np


class BatchNorm1d:

    def __init__(self, num_features, alpha=0.9):
        self.alpha = alpha
        self.eps = 1e-8

        self.BW = np.ones((1, num_features))
        self.Bb = np.zeros((1, num_features))
        self.dLdBW = np.zeros((1, num_features))
        self.dLdBb = np.zeros((1, num_features))

        # inference parameters
        self.running_M = np.zeros((1, num_features))
        self.running_V = np.ones((1, num_features))

    def forward(self, Z, eval=False):
        """Z: (N, C). eval: whether we are in inference mode"""
        self.Z = Z
        self.N = Z.shape[0]
        self.M = np.mean(Z, axis=0, keepdims=True)
        self.V = np.var(Z, axis=0, keepdims=True)

        if eval == False:
            self.NZ = (self.Z - self.M) / np.sqrt(self.V + self.eps)
            self.BZ = self.BW * self.NZ + self.Bb
            self.running_M = self.alpha * self.running_M + (1 - self.alpha) * self.M
            self.running_V = self.alpha * self.running_V + (1 - self.alpha) * self.V
        else:
            self.NZ = (self.Z - self.running_M) / np.sqrt(self.running_V + self.eps)
            self.BZ = self.BW * self.NZ + self.Bb
        return self.BZ

    def backward(self, dLdBZ):
        self.dLdBW = np.sum(dLdBZ * self.NZ, axis=0, keepdims=True)
        self.dLdBb = np.sum(dLdBZ, axis=0, keepdims=True)
        dLdNZ = dLdBZ * self.BW
        ve = self.V + self.eps
        dLdV = -0.5 * np.sum(dLdNZ * (self.Z - self.M) * ve ** (-3 / 2), axis=0, keepdims=True)
        dNZdM = -(ve ** (-1 / 2)) - 0.5 * (self.Z - self.M) * ve ** (-3 / 2) * (-2 / self.N) * np.sum(
            self.Z - self.M, axis=0, keepdims=True)
        dLdM = np.sum(dLdNZ * dNZdM, axis=0, keepdims=True)
        return dLdNZ * ve ** (-1 / 2) + dLdV * (2 / self.N) * (self.Z - self.M) + dLdM / self.N
