from django.urls import path

from . import new, page

urlpatterns = [
    path("exports/", page.mine, name="exports"),
    path("exports/new", new.new, name="export-new"),
    path("exports/<uuid:export_id>/", page.one, name="export"),
    path("exports/<uuid:export_id>/cancel", page.cancel, name="export-cancel"),
    path("exports/<uuid:export_id>/again", page.again, name="export-again"),
    path("exports/<uuid:export_id>/delete", page.delete, name="export-delete"),
    path("exports/<uuid:export_id>/files/<str:name>", page.file, name="export-file"),
]
