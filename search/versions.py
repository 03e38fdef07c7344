"""Of what state of a dataset and of its removal lists something was made."""

import hashlib
import json
from typing import Any

from django.db.models import Count, Max, Sum

from .ingestion.removals import removals_of
from .models import Dataset

OF_SHARD = ("number", "state", "rows_visible", "epoch", "fingerprint")


def dataset_version(dataset: Dataset) -> dict[str, Any]:
    """Changes whenever shards come, go, or are brought in anew.

    `digest` is over the ledger, `items` can be found in `shards`, the latest of which
    came in at `latest` (ISO 8601; None before any did).
    """
    shards = dataset.shards.filter(rows_visible__gt=0).order_by("number")
    digest = hashlib.sha256(f"{dataset.slug}:{dataset.pk}".encode())
    for told in shards.values_list(*OF_SHARD).iterator(chunk_size=2_000):
        digest.update(json.dumps(told).encode())
    counted = shards.aggregate(
        items=Sum("rows_visible"), shards=Count("pk"), latest=Max("published_at")
    )
    latest = counted["latest"]
    return {
        "digest": digest.hexdigest(),
        "items": counted["items"] or 0,
        "shards": counted["shards"],
        "latest": latest.isoformat() if latest else None,
    }


def removals_version(dataset: Dataset) -> dict[str, Any]:
    """Changes whenever something is put on the lists that hold for it, or taken off.

    `count` is how many entries there are, `latest` when the last of them was made.
    """
    told = removals_of(dataset).aggregate(
        count=Count("pk"), keys=Sum("pk"), last=Max("pk"), latest=Max("created_at")
    )
    latest = told["latest"].isoformat() if told["latest"] else None
    seen = f"{told['count']}:{told['keys']}:{told['last']}:{latest}"
    return {
        "digest": hashlib.sha256(seen.encode()).hexdigest(),
        "count": told["count"],
        "latest": latest,
    }
