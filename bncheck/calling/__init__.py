"""Calls of anybody's code: the patterns in which they are written, and how arrays stand in its hands."""
