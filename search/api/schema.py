"""How drf-spectacular tells of the API: what all operations have in common."""

from drf_spectacular.openapi import AutoSchema


class Described(AutoSchema):
    """Adds the refusals that each operation may answer with."""
