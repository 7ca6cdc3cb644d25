"""What can be checked: ours, and everybody's."""
