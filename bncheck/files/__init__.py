"""Files of other people, imported as modules of their project."""
