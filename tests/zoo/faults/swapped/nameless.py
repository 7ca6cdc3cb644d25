import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(0) + eps)
    z = (x - x.mean(0)) / std
    return gamma * z + beta, (z, std, gamma)

def bn_backward(dout, cache):
    z, std, gamma = cache
    n, d = dout.shape
    sums = np.zeros((2, d))
    for row, weight in zip(dout, z):
        sums[0] += row
        sums[1] += row * weight
    rest = gamma / std * (dout - (sums[0] + z * sums[1]) / n)
    return rest, sums[0], sums[1]
