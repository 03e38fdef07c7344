"""Thumbnails of items, so that a visitor's browser contacts no host but this one.

The URL of a thumbnail names an item, so this is no open proxy. An image is fetched once
(service, work_queue), scaled to all sizes in a decoder process and cached on disk
(store).
"""

from django.urls import reverse

# Pixels of the width; the height is at most MAX_ASPECT (service) times as much.
SIZES = (160, 320, 640, 1280)


def thumbnail_url(dataset: str, item_id: int, size: int) -> str:
    return reverse("thumbnail", args=[dataset, item_id, size])
