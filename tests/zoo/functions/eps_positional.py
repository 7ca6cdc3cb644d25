"""Batch norm, forward and backward, following the blog post step by step."""
import numpy


def batch_norm_forward(x, gamma, beta, eps):
    n, _ = x.shape
    mean = x.sum(axis=0) / n
    centered = x - mean
    variance = (centered * centered).sum(axis=0) / n
    std = numpy.sqrt(variance + eps)
    normalized = centered / std
    return gamma * normalized + beta, (centered, std, normalized, gamma)


def batch_norm_backward(grad, cache):
    centered, std, normalized, gamma = cache
    n, _ = grad.shape
    grad_beta = grad.sum(axis=0)
    grad_gamma = (grad * normalized).sum(axis=0)
    grad_normalized = grad * gamma
    grad_std = -(grad_normalized * centered).sum(axis=0) / std ** 2
    grad_variance = grad_std / (2 * std)
    grad_centered = grad_normalized / std + 2 * centered * grad_variance / n
    grad_x = grad_centered - grad_centered.sum(axis=0) / n
    return grad_x, grad_gamma, grad_beta
