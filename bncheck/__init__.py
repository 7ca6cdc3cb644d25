"""Check the backward pass of batch normalisation, node by node."""

__version__ = "0.1.0"
