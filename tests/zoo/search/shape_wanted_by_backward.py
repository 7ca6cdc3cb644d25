import numpy as np

def batchnorm_forward(x, gamma, beta, epsilon=1e-5):
    mu = np.mean(x, axis=0, keepdims=True)
    var = np.var(x, axis=0, keepdims=True)
    norm = (x - mu) / np.sqrt(var + epsilon)
    return gamma * norm + beta, (norm, var, gamma, beta, epsilon)

def batchnorm_backward(dout, cache):
    norm, var, gamma, beta, epsilon = cache
    m, d = dout.shape
    dbeta = np.sum(dout, axis=0, keepdims=True)
    dgamma = np.sum(dout * norm, axis=0, keepdims=True)
    assert dbeta.shape == beta.shape and dgamma.shape == gamma.shape
    dx = gamma / np.sqrt(var + epsilon) * (dout - dbeta / m - norm * dgamma / m)
    return dx, dgamma, dbeta
