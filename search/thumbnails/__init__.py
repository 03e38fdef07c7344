"""Pictures of items made small, so that a visitor's browser asks no host but this one.

An address names an item, never a URL: this is no proxy for anything else. What is shown
under it (subject), fetched once for all sizes (fetching, renditions), stays on disk
(store).
"""

from django.urls import reverse

# The most pixels across; a picture is at most TALLEST times as high.
SIZES = (160, 320, 640, 1280)


def address(dataset: str, item_id: int, size: int) -> str:
    return reverse("thumbnail", args=[dataset, item_id, size])
