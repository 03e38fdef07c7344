import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")

app = Celery("laionweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["search.ingestion"])
app.autodiscover_tasks(
    ["usercollections.collecting", "usercollections.refining"], related_name="sweeping"
)
app.steps["worker"].add("search.encoding:Encoding")
