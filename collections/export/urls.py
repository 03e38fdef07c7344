from django.urls import path

from . import views

urlpatterns = [
    path("exports/", views.my_exports, name="exports"),
    path("exports/new", views.new, name="export-new"),
    path("exports/<uuid:export_id>/", views.export_page, name="export"),
    path("exports/<uuid:export_id>/cancel", views.cancel, name="export-cancel"),
    path("exports/<uuid:export_id>/again", views.restart, name="export-again"),
    path("exports/<uuid:export_id>/delete", views.delete, name="export-delete"),
    path("exports/<uuid:export_id>/files/<str:name>", views.file, name="export-file"),
]
