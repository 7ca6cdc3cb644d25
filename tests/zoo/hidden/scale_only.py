import numpy as np

class BatchNorm:
    def __init__(self, size, lr=0.05, eps=1e-5):
        self.lr, self.eps = lr, eps
        self.gamma = np.ones(size)

    def forward(self, x):
        centred = x - x.mean(axis=0)
        self.s = np.sqrt(np.mean(centred ** 2, axis=0) + self.eps)
        self.z = centred / self.s
        return self.gamma * self.z

    def backward(self, dout):
        dz = dout * self.gamma
        step = (dout * self.z).sum(axis=0)
        self.gamma = self.gamma - self.lr * step
        return (dz - dz.mean(axis=0) - self.z * (dz * self.z).mean(axis=0)) / self.s
