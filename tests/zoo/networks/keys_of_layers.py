import numpy as np


class MLP:
    def __init__(self, sizes=[], use_bn=[]):
        self.parameters, self.caches = {}, {}
        for l in range(1, len(sizes)):
            if use_bn[l - 1]:
                self.parameters[f"gamma{l}"] = np.ones((sizes[l], 1))
                self.parameters[f"beta{l}"] = np.zeros((sizes[l], 1))

    def batch_norm_forward(self, Z, l):
        sd = np.sqrt(np.var(Z, axis=1, keepdims=True) + 1e-5)
        Zn = (Z - np.mean(Z, axis=1, keepdims=True)) / sd
        self.caches[l] = Zn, sd
        return self.parameters[f"gamma{l}"] * Zn + self.parameters[f"beta{l}"]

    def batch_norm_backward(self, dout, l):
        Zn, sd = self.caches[l]
        m = dout.shape[1]
        dgamma = np.sum(dout * Zn, axis=1, keepdims=True)
        dbeta = np.sum(dout, axis=1, keepdims=True)
        dZ = self.parameters[f"gamma{l}"] / (m * sd) * (m * dout - dbeta - Zn * dgamma)
        return dZ, dgamma, dbeta
