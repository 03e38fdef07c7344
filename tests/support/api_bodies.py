"""Valid bodies for the API's operations on a user's objects, by route and method.

Each of these bodies is answered with a success when it comes from the owner; so where
another is refused, it is for whose the thing is, and not for the body.
"""

from typing import Any

ITEMS = [{"dataset": "postcards", "id": 7}]
VECTOR = [1.0] + [0.0] * 511

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("api-collections", "post"): {"name": "harbours", "items": ITEMS},
    ("api-collection", "patch"): {"name": "harbours", "cover": ITEMS[0]},
    ("api-collection-items", "post"): {"items": ITEMS, "words": "a boat"},
    ("api-collection-items-remove", "post"): {"items": ITEMS},
    ("api-collection-item", "patch"): {"note": "nice", "place": 1},
    ("api-searches", "post"): {"search": "dataset=postcards&q=a+harbour"},
    ("api-saved-search", "patch"): {"name": "harbours", "place": 1},
    ("api-concepts", "post"): {
        "name": "harbours",
        "dataset": "postcards",
        "embedding": VECTOR,
    },
    ("api-concept", "patch"): {"name": "harbours"},
    ("api-concept-versions", "post"): {"restore": 1},
    ("api-export-cancel", "post"): {},
}


def naming(key: str) -> list[tuple[str, dict[str, Any]]]:
    """Requests that would do something with what has this id, were it one's own."""
    search = {"dataset": "postcards", "terms": [{"concept": key}], "limit": 1}
    export = {"form": "json"}
    of_concept = {"kind": "concept", "concept": key, "at_least": 0.5}
    return [
        ("/api/concepts/", {"name": "x", "round": key}),
        ("/api/search/", search),
        ("/api/refine/", search | {"good": [7]}),
        ("/api/exports/", export | {"kind": "collection", "collection": key}),
        ("/api/exports/", export | of_concept | {"dataset": "postcards"}),
        ("/api/exports/", export | {"kind": "search", "search": search}),
    ]
