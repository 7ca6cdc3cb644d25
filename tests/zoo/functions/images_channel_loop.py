import numpy as np


def bn2d_forward(x, gamma, beta, eps=1e-5):
    out = np.empty_like(x)
    cache = []
    for c in range(x.shape[1]):
        plane = x[:, c, :, :]
        m, s = plane.mean(), np.sqrt(plane.var() + eps)
        h = (plane - m) / s
        out[:, c, :, :] = gamma[c] * h + beta[c]
        cache.append((h, s, gamma[c]))
    return out, cache


def bn2d_backward(dout, cache):
    dx = np.empty_like(dout)
    dgamma, dbeta = [], []
    for c, (h, s, g) in enumerate(cache):
        d = dout[:, c]
        dgamma.append((d * h).sum())
        dbeta.append(d.sum())
        dx[:, c] = g / s * (d - d.mean() - h * (d * h).mean())
    return dx, np.array(dgamma), np.array(dbeta)
