import numpy as np

train = np.load("mnist_that_is_not_there.npz")
images = train["images"]


def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(0) + eps)
    x_hat = (x - x.mean(0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def bn_backward(dout, cache):
    x_hat, std, gamma = cache
    dx_hat = dout * gamma
    dx = (dx_hat - dx_hat.mean(0) - x_hat * (dx_hat * x_hat).mean(0)) / std
    return dx, (dout * x_hat).sum(0), dout.sum(0)


for epoch in range(10):
    out, cache = bn_forward(images, np.ones(784), np.zeros(784))
