from django.urls import include, path

from . import concept_changes, concept_page, views

for_readers = [
    path("", concept_page.page, name="concept"),
    path("export.json", concept_page.export, {"form": "json"}, name="concept-json"),
    path("export.npy", concept_page.export, {"form": "npy"}, name="concept-npy"),
    path("copy", concept_changes.copy, name="concept-copy"),
]
for_its_owner = [
    path("edit", concept_changes.edit, name="concept-edit"),
    path("delete", concept_changes.delete, name="concept-delete"),
    path("undelete", concept_changes.undelete, name="concept-undelete"),
    path("restore", concept_changes.restore, name="concept-restore"),
    path("visibility", concept_changes.show_to, name="concept-visibility"),
    path("renew-link", concept_changes.renew_link, name="concept-renew-link"),
]
urlpatterns = [
    path("refine/", views.refine, name="refine"),
    path("refine/history", views.history, name="refine-history"),
    path("concepts/", concept_page.mine, name="concepts"),
    path("concepts/save", concept_changes.save, name="concept-save"),
    path("concepts/import", concept_changes.bring_in, name="concept-import"),
    path("concepts/shared/<slug:token>/", include(for_readers)),
    path("concepts/<uuid:concept_id>/", include(for_readers + for_its_owner)),
]
