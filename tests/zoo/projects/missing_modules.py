from tqdm_that_is_not_there import tqdm
import gpu_arrays_that_are_not_there as cp
import numpy as np

xp = np
DEVICE = cp.cuda.Device(0)


class BatchNorm(cp.Layer):
    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.gamma, self.beta, self.eps = xp.ones(dim), xp.zeros(dim), eps

    def forward(self, x):
        self.std = xp.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        self.dgamma = xp.sum(dout * self.x_hat, axis=0)
        self.dbeta = xp.sum(dout, axis=0)
        g = dout * self.gamma
        return (g - g.mean(axis=0) - self.x_hat * (g * self.x_hat).mean(axis=0)) / self.std


def train(layers, batches):
    for batch in tqdm(batches):
        for layer in layers:
            batch = layer.forward(batch)
