import numpy as np

class BatchNorm2D:
    def __init__(self, n_channels, epsilon=1e-5):
        self.gamma = np.ones(n_channels)
        self.beta = np.zeros(n_channels)
        self.epsilon = epsilon

    def forward(self, images):
        # (batch, height, width, channels): reshape is enough
        self.shape = images.shape
        flat = images.reshape(-1, images.shape[-1])
        self.inv = 1 / np.sqrt(flat.var(axis=0) + self.epsilon)
        self.flat_hat = (flat - flat.mean(axis=0)) * self.inv
        return (self.flat_hat * self.gamma + self.beta).reshape(self.shape)

    def backward(self, delta):
        d = delta.reshape(-1, self.shape[-1])
        dgamma, dbeta = (d * self.flat_hat).sum(axis=0), d.sum(axis=0)
        dflat = self.gamma * self.inv * (d - dbeta / len(d) - self.flat_hat * dgamma / len(d))
        return dflat.reshape(self.shape), dgamma, dbeta
