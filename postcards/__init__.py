"""Postcards: the example dataset that the project draws for itself."""
