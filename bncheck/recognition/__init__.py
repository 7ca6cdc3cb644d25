"""Recognition: how somebody's code is to be called, found out by calling it."""
