import torch


class BatchNormalization:
    def __init__(self, num_features, eps=1e-5):
        self.gamma = torch.ones(num_features)
        self.beta = torch.zeros(num_features)
        self.eps = eps
        self.grad_gamma = None
        self.grad_beta = None

    def forward(self, x):
        self.mean = x.mean(dim=0)
        self.var = x.var(dim=0, unbiased=False)
        self.std = torch.sqrt(self.var + self.eps)
        self.x_hat = (x - self.mean) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, grad):
        n = grad.shape[0]
        self.grad_gamma = torch.sum(grad * self.x_hat, dim=0)
        self.grad_beta = torch.sum(grad, dim=0)
        g = grad * self.gamma
        return (n * g - torch.sum(g, dim=0) - self.x_hat * torch.sum(g * self.x_hat, dim=0)) / (n * self.std)
