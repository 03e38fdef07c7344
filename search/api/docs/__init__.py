"""The pages about the API for people: how to, and the whole of it."""
