"""laionweb's Celery, and a task more: the worker tells what its engine holds."""

import json
from pathlib import Path

from laionweb.celery import app


@app.task
def tell(slug: str, path: str) -> None:
    from search.models import Dataset
    from support.tiny_shards import summary

    unfinished = Path(f"{path}.part")
    unfinished.write_text(json.dumps(summary(Dataset.objects.get(slug=slug))))
    unfinished.rename(path)
