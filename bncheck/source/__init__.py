"""Source code of other people: the lines in which a mistake stands."""
