from django.urls import include, path

from .. import sharing_views
from ..models import Collection
from . import download_views, edit_views, views

MODEL = {"model": Collection}
for_readers = [
    path("", views.page, name="collection"),
    path(
        "export.json", download_views.export, {"form": "json"}, name="collection-json"
    ),
    path("export.csv", download_views.export, {"form": "csv"}, name="collection-csv"),
    path("like-it", download_views.more_like_it, name="collection-like-it"),
    path("copy", sharing_views.copy, MODEL, name="collection-copy"),
]
for_owner = [
    path("edit", sharing_views.edit, MODEL, name="collection-edit"),
    path("delete", sharing_views.delete, MODEL, name="collection-delete"),
    path("restore", sharing_views.restore, MODEL, name="collection-restore"),
    path(
        "visibility",
        sharing_views.change_visibility,
        MODEL,
        name="collection-visibility",
    ),
    path("renew-link", sharing_views.renew_link, MODEL, name="collection-renew-link"),
    path("cover", edit_views.choose_cover, name="collection-cover"),
    path("merge", edit_views.merge, name="collection-merge"),
    path("add", edit_views.add, name="collection-add"),
    path("remove", edit_views.remove, name="collection-remove"),
    path("move", edit_views.move, name="collection-move"),
    path("undo", edit_views.undo, name="collection-undo"),
    path("note", edit_views.note, name="collection-note"),
]
urlpatterns = [
    path("collections/", views.my_collections, name="collections"),
    path("collections/public/", views.public, name="collections-public"),
    path("collections/choose", edit_views.choose, name="collections-choose"),
    path("collections/shared/<slug:token>/", include(for_readers)),
    path("collections/<uuid:key>/", include(for_readers + for_owner)),
]
