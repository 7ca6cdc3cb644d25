"""Faults: what can be wrong in a backward pass, how it shows, how it is told, and where it could not show."""
