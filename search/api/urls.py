"""Routes of the API."""

from django.urls import path, re_path
from django.views.generic import RedirectView

from . import datasets, popularity, refine, schema, shards, uploads, views
from .docs import views as docs_views

urlpatterns = [
    path("schema/", schema.SchemaView.as_view(), name="api-schema"),
    path("docs", RedirectView.as_view(pattern_name="api-docs")),
    path("docs/", docs_views.docs, name="api-docs"),
    path("docs/reference/", docs_views.reference, name="api-reference"),
    path("datasets/", datasets.Datasets.as_view(), name="api-datasets"),
    path(
        "datasets/<slug:slug>/",
        datasets.DatasetDetail.as_view(),
        name="api-dataset",
    ),
    path(
        "datasets/<slug:slug>/deletion/",
        datasets.DatasetDeletion.as_view(),
        name="api-deletion",
    ),
    path(
        "datasets/<slug:slug>/watch/",
        datasets.DatasetWatch.as_view(),
        name="api-watch",
    ),
    path(
        "deleted-datasets/",
        datasets.DeletedDatasets.as_view(),
        name="api-deleted-datasets",
    ),
    path(
        "deleted-datasets/<int:number>/",
        datasets.DeletedDataset.as_view(),
        name="api-deleted-dataset",
    ),
    path(
        "deleted-datasets/<int:number>/restore/",
        datasets.RestoredDataset.as_view(),
        name="api-restore",
    ),
    path(
        "datasets/<slug:slug>/progress/",
        shards.Progress.as_view(),
        name="api-progress",
    ),
    path("datasets/<slug:slug>/shards/", shards.Shards.as_view(), name="api-shards"),
    path(
        "datasets/<slug:slug>/shards/<slug:action>/",
        shards.ShardActions.as_view(),
        name="api-steering",
    ),
    path(
        "datasets/<slug:slug>/items/<int:item_id>/",
        views.ItemDetail.as_view(),
        name="api-item",
    ),
    path("uploads/", uploads.Uploads.as_view(), name="api-uploads"),
    path("uploads/<slug:key>/", uploads.UploadDetail.as_view(), name="api-upload"),
    path("uploads/<slug:key>/file/", uploads.UploadFile.as_view(), name="api-chunk"),
    path("uploads/<slug:key>/fetch/", uploads.UploadFetch.as_view(), name="api-fetch"),
    re_path("^search/?$", views.Search.as_view(), name="api-search"),
    path("refine/", refine.Refine.as_view(), name="api-refine"),
    path("popularity/", popularity.Popularity.as_view(), name="api-popularity"),
    re_path("", views.Unknown.as_view()),
]
