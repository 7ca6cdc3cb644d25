import time
import numpy as np

seconds = {}

def timed(function):
    def wrapper(*args, **kwargs):
        t = time.perf_counter()
        result = function(*args, **kwargs)
        seconds[function.__name__] = seconds.get(function.__name__, 0) + time.perf_counter() - t
        return result
    return wrapper

@timed
def batchnorm_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)

@timed
def batchnorm_backward(dout, cache):
    x_hat, std, gamma = cache
    n = dout.shape[0]
    dgamma, dbeta = np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)
    return gamma / std * (dout - dbeta / n - x_hat * dgamma / n), dgamma, dbeta
