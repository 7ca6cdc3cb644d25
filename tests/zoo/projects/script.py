import sys
import numpy as np

print("python", sys.version)


class BatchNorm:
    def __init__(self, dim, eps=1e-5):
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)
        self.eps = eps

    def forward(self, x):
        self.s = np.sqrt(x.var(axis=0) + self.eps)
        self.z = (x - x.mean(axis=0)) / self.s
        return self.gamma * self.z + self.beta

    def backward(self, dout):
        self.dgamma = (dout * self.z).sum(axis=0)
        self.dbeta = dout.sum(axis=0)
        dz = self.gamma * dout
        return (dz - dz.mean(axis=0) - self.z * (dz * self.z).mean(axis=0)) / self.s


np.random.seed(0)
X = np.random.randn(8, 3)
layer = BatchNorm(3)
for epoch in range(3):
    out = layer.forward(X)
    loss = (out ** 2).sum()
    layer.backward(2 * out)
    layer.gamma -= 0.01 * layer.dgamma
    print("epoch", epoch, "loss", loss)

if __name__ == "__main__":
    sys.exit("nothing else to do")
