import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")

app = Celery("laionweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["search.ingestion", "usercollections.exporting"])
app.autodiscover_tasks(
    [f"usercollections.{room}" for room in ("collecting", "refining", "exporting")],
    related_name="sweeping",
)
app.steps["worker"].add("laionweb.encode_worker:Encoding")
