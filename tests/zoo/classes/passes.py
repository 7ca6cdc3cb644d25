import numpy as np

class BatchNormalization():
    def __init__(self, input_size, eps=1e-5):
        self.gamma = np.ones(input_size)
        self.beta = np.zeros(input_size)
        self.eps = eps

    def forward_pass(self, X, training=True):
        self.mean = X.mean(axis=0)
        self.var = X.var(axis=0)
        self.X_norm = (X - self.mean) / np.sqrt(self.var + self.eps)
        return self.gamma * self.X_norm + self.beta

    def backward_pass(self, accum_grad):
        n = accum_grad.shape[0]
        self.grad_gamma = np.sum(accum_grad * self.X_norm, axis=0)
        self.grad_beta = np.sum(accum_grad, axis=0)
        s = np.sqrt(self.var + self.eps)
        return self.gamma * (n * accum_grad - self.grad_beta - self.X_norm * self.grad_gamma) / (n * s)
