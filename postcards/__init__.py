"""Postcards: the example dataset, which the project draws itself."""
