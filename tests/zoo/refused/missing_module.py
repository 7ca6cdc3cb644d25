import numpy as np
import pycuda_kernels_of_2014 as kernels

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    return kernels.bn(x, gamma, beta, eps)
