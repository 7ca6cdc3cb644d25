import numpy as np

class BatchNorm:
    def __init__(self, n):
        self.gamma = np.ones(n)
        print "batch norm with", n, "features"
