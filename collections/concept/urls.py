from django.urls import include, path

from .. import sharing_views
from ..models import Concept
from . import edit_views, refine_views, views

MODEL = {"model": Concept}
for_readers = [
    path("", views.page, name="concept"),
    path("export.json", views.export, {"form": "json"}, name="concept-json"),
    path("export.npy", views.export, {"form": "npy"}, name="concept-npy"),
    path("copy", sharing_views.copy, MODEL, name="concept-copy"),
]
for_owner = [
    path("edit", sharing_views.edit, MODEL, name="concept-edit"),
    path("delete", sharing_views.delete, MODEL, name="concept-delete"),
    path("undelete", sharing_views.restore, MODEL, name="concept-undelete"),
    path("restore", edit_views.restore_version, name="concept-restore"),
    path(
        "visibility", sharing_views.change_visibility, MODEL, name="concept-visibility"
    ),
    path("renew-link", sharing_views.renew_link, MODEL, name="concept-renew-link"),
]
urlpatterns = [
    path("refine/", refine_views.refine, name="refine"),
    path("refine/history", refine_views.history, name="refine-history"),
    path("concepts/", views.mine, name="concepts"),
    path("concepts/save", edit_views.save, name="concept-save"),
    path("concepts/import", edit_views.upload, name="concept-import"),
    path("concepts/shared/<slug:token>/", include(for_readers)),
    path("concepts/<uuid:key>/", include(for_readers + for_owner)),
]
