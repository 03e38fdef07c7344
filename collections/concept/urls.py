from django.urls import include, path

from . import edit_views, refine_views, views

for_readers = [
    path("", views.page, name="concept"),
    path("export.json", views.export, {"form": "json"}, name="concept-json"),
    path("export.npy", views.export, {"form": "npy"}, name="concept-npy"),
    path("copy", edit_views.copy, name="concept-copy"),
]
for_its_owner = [
    path("edit", edit_views.edit, name="concept-edit"),
    path("delete", edit_views.delete, name="concept-delete"),
    path("undelete", edit_views.restore_deleted, name="concept-undelete"),
    path("restore", edit_views.restore, name="concept-restore"),
    path("visibility", edit_views.change_visibility, name="concept-visibility"),
    path("renew-link", edit_views.renew_link, name="concept-renew-link"),
]
urlpatterns = [
    path("refine/", refine_views.refine, name="refine"),
    path("refine/history", refine_views.history, name="refine-history"),
    path("concepts/", views.mine, name="concepts"),
    path("concepts/save", edit_views.save, name="concept-save"),
    path("concepts/import", edit_views.upload, name="concept-import"),
    path("concepts/shared/<slug:token>/", include(for_readers)),
    path("concepts/<uuid:concept_id>/", include(for_readers + for_its_owner)),
]
