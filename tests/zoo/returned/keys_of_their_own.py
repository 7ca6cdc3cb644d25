import numpy as np

class BatchNormalizationLayer:
    def __init__(self, units, eps=1e-6):
        self.units, self.eps = units, eps
        self.params = {'scale': np.ones(units), 'offset': np.zeros(units)}

    def forward(self, inputs, training=True):
        self.std = np.sqrt(inputs.var(0) + self.eps)
        self.norm = (inputs - inputs.mean(0)) / self.std
        return self.params['scale'] * self.norm + self.params['offset']

    def backward(self, grad):
        grads = {}
        grads['offset'] = grad.sum(0)
        grads['scale'] = (grad * self.norm).sum(0)
        g = grad * self.params['scale']
        return (g - g.mean(0) - self.norm * (g * self.norm).mean(0)) / self.std, grads
