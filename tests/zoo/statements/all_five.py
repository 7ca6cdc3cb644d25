import numpy as np

dx_hat = dout * gamma
dbeta = np.sum(dout, axis=0)
dgamma = np.sum(dout * x_hat, axis=0)
dvar = np.sum(dx_hat * (x - mean), axis=0) * (-1 / 2) * np.power(var + eps, -3 / 2)
dmean = -np.sum(dx_hat, axis=0) / np.sqrt(var + eps)
dx = dx_hat / np.sqrt(var + eps) + 2 * dvar * (x - mean) / N + dmean / N
