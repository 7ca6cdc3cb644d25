from .batchnorm import BatchNorm

__all__ = ["BatchNorm"]
