from django.urls import include, path

from . import dataset_page, ingestion_page, views

urlpatterns = [
    path("", views.search, name="search"),
    path("search/picture", views.search_by_picture, name="search-by-picture"),
    path("d/<slug:slug>/", dataset_page.dataset, name="dataset"),
    path("d/<slug:slug>/<int:item_id>", views.item, name="item"),
    path(
        "ingestion/<slug:slug>/",
        include(
            [
                path("", ingestion_page.ingestion, name="ingestion"),
                path("live", ingestion_page.live, name="ingestion-live"),
                path("steer", ingestion_page.steer, name="ingestion-steer"),
                path("take-down", ingestion_page.take_down, name="ingestion-take-down"),
                path("rejects.csv", ingestion_page.rejects, name="ingestion-rejects"),
            ]
        ),
    ),
]
