"""Gradients: the right ones, the numeric ones, and how far the two may differ."""
