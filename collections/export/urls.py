from django.urls import path

from . import views

urlpatterns = [
    path("exports/", views.mine, name="exports"),
    path("exports/new", views.new, name="export-new"),
    path("exports/<uuid:export_id>/", views.one, name="export"),
    path("exports/<uuid:export_id>/cancel", views.cancel, name="export-cancel"),
    path("exports/<uuid:export_id>/again", views.again, name="export-again"),
    path("exports/<uuid:export_id>/delete", views.delete, name="export-delete"),
    path("exports/<uuid:export_id>/files/<str:name>", views.file, name="export-file"),
]
