from django.urls import include, path

from . import changes, item_changes, lists, page, taking

for_readers = [
    path("", page.page, name="collection"),
    path("export.json", taking.export, {"form": "json"}, name="collection-json"),
    path("export.csv", taking.export, {"form": "csv"}, name="collection-csv"),
    path("like-it", taking.more_like_it, name="collection-like-it"),
    path("copy", changes.copy, name="collection-copy"),
]
for_its_owner = [
    path("edit", changes.edit, name="collection-edit"),
    path("delete", changes.delete, name="collection-delete"),
    path("restore", changes.restore, name="collection-restore"),
    path("visibility", changes.show_to, name="collection-visibility"),
    path("renew-link", changes.renew_link, name="collection-renew-link"),
    path("cover", changes.choose_cover, name="collection-cover"),
    path("merge", changes.merge, name="collection-merge"),
    path("unmerge", changes.unmerge, name="collection-unmerge"),
    path("take-back", changes.take_back_batch, name="collection-take-back"),
    path("add", item_changes.add, name="collection-add"),
    path("remove", item_changes.remove, name="collection-remove"),
    path("move", item_changes.move, name="collection-move"),
    path("undo", item_changes.undo, name="collection-undo"),
    path("note", item_changes.note, name="collection-note"),
]
urlpatterns = [
    path("collections/", lists.mine, name="collections"),
    path("collections/public/", lists.public, name="collections-public"),
    path("collections/choose", item_changes.choose, name="collections-choose"),
    path("collections/shared/<slug:token>/", include(for_readers)),
    path("collections/<uuid:collection_id>/", include(for_readers + for_its_owner)),
]
