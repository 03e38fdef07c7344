import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")

app = Celery("laionweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(
    ["search.ingestion"]
    + [f"usercollections.{room}" for room in ("collection", "concept", "export")]
)
app.autodiscover_tasks(
    ["search.ingestion", "usercollections.export"], related_name="sweeper"
)
app.steps["worker"].add("laionweb.encode_worker:EncodeStep")
