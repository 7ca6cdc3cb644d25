import numpy as np

# all parameters live as (1, C, 1, 1) so that nothing has to be reshaped

def batch_norm_forward(X, gamma, beta, eps=1e-5):
    ax = (0, 2, 3)
    mu = np.mean(X, axis=ax, keepdims=True)
    var = np.mean(np.power(X - mu, 2), axis=ax, keepdims=True)
    X_hat = (X - mu) * 1.0 / np.sqrt(var + eps)
    return gamma * X_hat + beta, (X, X_hat, mu, var, gamma, eps)

def batch_norm_backward(dY, cache):
    X, X_hat, mu, var, gamma, eps = cache
    ax = (0, 2, 3)
    m = X.size // X.shape[1]
    dgamma = np.sum(dY * X_hat, axis=ax, keepdims=True)
    dbeta = np.sum(dY, axis=ax, keepdims=True)
    dX_hat = dY * gamma
    dvar = np.sum(dX_hat * (X - mu) * (-0.5) * np.power(var + eps, -1.5), axis=ax, keepdims=True)
    dmu = np.sum(dX_hat * (-1.0 / np.sqrt(var + eps)), axis=ax, keepdims=True)
    dX = dX_hat / np.sqrt(var + eps) + dvar * 2.0 * (X - mu) / m + dmu / m
    return dX, dgamma, dbeta
