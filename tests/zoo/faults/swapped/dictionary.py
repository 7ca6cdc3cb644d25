import numpy as np

def norm_forward(x, gamma, beta, eps=1e-5):
    s = np.sqrt(x.var(0) + eps)
    h = (x - x.mean(0)) / s
    return h * gamma + beta, dict(h=h, s=s, gamma=gamma)

def norm_backward(dout, cache):
    h, s, gamma = cache['h'], cache['s'], cache['gamma']
    m = dout.shape[0]
    p = np.sum(dout, axis=0)
    q = np.sum(dout * h, axis=0)
    return {'dx': gamma / (m * s) * (m * dout - p - h * q), 'dgamma': p, 'dbeta': q}
