"""laionweb's Celery, and a task more: the worker tells what its engine holds."""

import json
from pathlib import Path

from laionweb.celery import app


@app.task
def tell(slug: str, path: str) -> None:
    from search.models import Dataset
    from support.tiny_shards import told

    unfinished = Path(f"{path}.part")
    unfinished.write_text(json.dumps(told(Dataset.objects.get(slug=slug))))
    unfinished.rename(path)
