import numpy as np


class Module:
    def __init__(self):
        self.training = True

    def train(self):
        self.training = True
        return self

    def eval(self):
        self.training = False
        return self

    def __call__(self, *args):
        return self.forward(*args)


class BatchNorm1d(Module):
    def __init__(self, num_features, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = np.ones(num_features)
        self.bias = np.zeros(num_features)
        self.running_mean = np.zeros(num_features)
        self.running_var = np.ones(num_features)
        self.weight_grad = None
        self.bias_grad = None

    def forward(self, input):
        if not self.training:
            return (input - self.running_mean) / np.sqrt(self.running_var + self.eps) * self.weight + self.bias
        mean = input.mean(0)
        var = input.var(0)
        if self.track_running_stats:
            n = input.shape[0]
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var * n / (n - 1)
        self._inv_std = 1.0 / np.sqrt(var + self.eps)
        self._input_hat = (input - mean) * self._inv_std
        return self._input_hat * self.weight + self.bias

    def backward(self, grad_output):
        self.weight_grad = (grad_output * self._input_hat).sum(0)
        self.bias_grad = grad_output.sum(0)
        g = grad_output * self.weight
        return self._inv_std * (g - g.mean(0) - self._input_hat * (g * self._input_hat).mean(0))
