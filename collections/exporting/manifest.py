"""What an export says about itself, so that it can be told later what it is."""

from datetime import datetime

import pyarrow as pa

from laionweb.version import VERSION
from search.models import Dataset
from search.retrieval.scan import dataset_version, removals_version

from . import image_list
from .asked import Asked
from .progress import Finished, Told


def datasets(slugs: list[str]) -> list[Told]:
    """The datasets that items are of, as they are now; of one that is no more, nothing.

    `version` is a digest over the ledger, `removals` one over the lists of what must
    not be shown.
    """
    found = Dataset.objects.filter(slug__in=slugs).order_by("slug")
    return [
        {
            "slug": dataset.slug,
            "title": dataset.title,
            "model": dataset.model,
            "weights": dataset.weights,
            "dimension": dataset.dimension,
            "metric": dataset.get_metric_display(),
            "version": dataset_version(dataset),
            "removals": removals_version(dataset),
        }
        for dataset in found
    ]


def manifest(
    asked: Asked,
    finished: Finished,
    after: list[Told],
    schema: pa.Schema,
    now: datetime,
) -> Told:
    """Of an export that is finished; `after` are its datasets at the end."""
    told = {
        "application": {"name": "laionweb", "version": VERSION},
        "name": asked.name,
        "asked": asked.as_json(),
        "started_at": finished.started_at,
        "created_at": now.isoformat(timespec="seconds"),
        "datasets": finished.datasets,
        # Whether shards or removals came or went while it was written.
        "changed_meanwhile": after != finished.datasets,
        "counts": {
            "rows": finished.rows,
            "looked_at": finished.looked_at,
            "left_out": finished.left_out,
        },
        "columns": [{"name": each.name, "type": str(each.type)} for each in schema],
        "files": finished.files,
    }
    if asked.kind == "search":
        told["exact"] = finished.plan["exact"]
    if asked.form == "img2dataset":
        told["command"] = image_list.command(schema)
    return told
