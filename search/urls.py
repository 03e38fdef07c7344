from django.urls import include, path

from . import dataset_page, ingestion_page, item_page, selection, views
from .popularity_page import picked, popularity_of
from .thumbnails.views import thumbnail

urlpatterns = [
    path("", views.search, name="search"),
    path("search/picture", views.search_by_picture, name="search-by-picture"),
    path("search/weigh", views.weigh, name="search-weigh"),
    path("search/exact", views.check_exactly, name="search-exact"),
    path("selection.json", selection.as_json, name="selection-json"),
    path("selection.csv", selection.as_csv, name="selection-csv"),
    path("d/<slug:slug>/", dataset_page.dataset, name="dataset"),
    path("d/<slug:slug>/<int:item_id>", item_page.item, name="item"),
    path("d/<slug:slug>/<int:item_id>/picked", picked, name="picked"),
    path("popularity", popularity_of, name="popularity"),
    path("t/<slug:slug>/<int:item_id>/<int:size>.webp", thumbnail, name="thumbnail"),
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
