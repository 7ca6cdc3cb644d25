import matplotlib_that_is_not_there.pyplot as plt
import numpy as np
from layers_that_are_not_there import *
from tqdm_that_is_not_there import tqdm

plt.rcParams["figure.figsize"] = (10, 8)


class BatchNorm(Layer):
    def __init__(self, num_features, eps=1e-5, activation=None):
        super().__init__("bn", trainable=True)
        self.add_parameter("gamma", num_features)
        self.activation = Activation(activation)
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)
        self.eps = eps

    @timed
    def forward(self, x: Tensor) -> Tensor:
        self.std = np.sqrt(x.var(0) + self.eps)
        self.x_hat = (x - x.mean(0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        n = np.float(len(dout))
        self.dgamma = np.sum(dout * self.x_hat, 0)
        self.dbeta = np.sum(dout, 0)
        return self.gamma / (n * self.std) * (n * dout - self.dbeta - self.x_hat * self.dgamma)


class BatchNormOff(BatchNorm):
    def backward(self, dout):
        super().backward(dout)
        return self.gamma / self.std * (dout - dout.mean(0))
