import numpy as np


def inverse_root(variance, eps):
    return 1.0 / np.sqrt(variance + eps)
