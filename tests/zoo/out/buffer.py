import numpy as np


class BatchNormLayer:
    """blobs are allocated by the net, as in caffe"""

    def __init__(self, channels, eps=1e-5):
        self.gamma, self.beta = np.ones(channels), np.zeros(channels)
        self.eps = eps

    def forward(self, bottom, top):
        self.std = np.sqrt(bottom.var(axis=0) + self.eps)
        self.hat = (bottom - bottom.mean(axis=0)) / self.std
        top[...] = self.gamma * self.hat + self.beta

    def backward(self, top_diff, bottom_diff):
        self.gamma_diff = (top_diff * self.hat).sum(axis=0)
        self.beta_diff = top_diff.sum(axis=0)
        g = top_diff * self.gamma
        bottom_diff[...] = (g - g.mean(axis=0) - self.hat * (g * self.hat).mean(axis=0)) / self.std
