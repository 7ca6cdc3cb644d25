import numpy as np


def bn_fwd(inputs, gamma, beta, epsilon=1e-5):
    mu = inputs.mean(axis=0)
    sig = np.sqrt(inputs.var(axis=0) + epsilon)
    hat = (inputs - mu) / sig
    return hat * gamma + beta, [hat, sig, gamma]


def bn_bwd(delta, saved):
    """returns delta_in, dbeta, dgamma (bias first, as for the dense layer)"""
    hat, sig, gamma = saved
    M = delta.shape[0]
    dbeta = np.sum(delta, axis=0)
    dgamma = np.sum(delta * hat, axis=0)
    delta_in = gamma * (M * delta - dgamma * hat - dbeta) / (M * sig)
    return delta_in, dbeta, dgamma
