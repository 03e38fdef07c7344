from django.urls import include, path

from .thumbnails.views import original, thumbnail
from .web import (
    add_dataset_views,
    bundles,
    dataset_views,
    datasets_views,
    help_views,
    ingestion_views,
    item_views,
    search_views,
    selection_views,
    upload_views,
)
from .web.popularity_views import popularity_page, record_pick

urlpatterns = [
    path("", search_views.search, name="search"),
    path("search/picture", search_views.search_by_image, name="search-by-picture"),
    path("search/weigh", search_views.change_weight, name="search-weigh"),
    path("search/relevance", search_views.relevance, name="search-relevance"),
    path("search/exact", search_views.check_exact, name="search-exact"),
    path("bundle/<slug:version>.<slug:kind>", bundles.bundle, name="bundle"),
    path("selection.json", selection_views.as_json, name="selection-json"),
    path("selection.csv", selection_views.as_csv, name="selection-csv"),
    path("suggest/items", item_views.suggest, name="suggest-items"),
    path("help/", help_views.help_text, name="help"),
    path("datasets/", datasets_views.datasets, name="datasets"),
    path(
        "datasets/add/",
        include(
            [
                path("", add_dataset_views.where, name="dataset-add"),
                path("what", add_dataset_views.contents, name="dataset-add-contents"),
                path("model", add_dataset_views.model, name="dataset-add-model"),
                path("fetch", upload_views.fetch, name="dataset-add-fetch"),
                path(
                    "fetch/<slug:key>", upload_views.fetch, name="dataset-add-fetching"
                ),
                path("upload", upload_views.upload, name="dataset-add-upload"),
                path(
                    "upload/<slug:key>/delete",
                    upload_views.delete,
                    name="dataset-add-upload-delete",
                ),
                path("test", add_dataset_views.test, name="dataset-add-test"),
                path(
                    "import", add_dataset_views.start_import, name="dataset-add-import"
                ),
            ]
        ),
    ),
    path(
        "datasets/deleted/<int:number>/restore",
        datasets_views.restore,
        name="dataset-restore",
    ),
    path("d/<slug:slug>/", dataset_views.dataset, name="dataset"),
    path(
        "d/<slug:slug>/bring-back",
        dataset_views.bring_back,
        name="dataset-bring-back",
    ),
    path("d/<slug:slug>/watch", dataset_views.watch, name="dataset-watch"),
    path("d/<slug:slug>/delete", datasets_views.delete, name="dataset-delete"),
    path("d/<slug:slug>/<int:item_id>", item_views.item, name="item"),
    path("d/<slug:slug>/<int:item_id>/picked", record_pick, name="picked"),
    path("d/<slug:slug>/<int:item_id>/similar", item_views.similar, name="similar"),
    path("d/<slug:slug>/<int:item_id>/original", original, name="original"),
    path("popularity", popularity_page, name="popularity"),
    path("t/<slug:slug>/<int:item_id>/<int:size>.webp", thumbnail, name="thumbnail"),
    path(
        "ingestion/<slug:slug>/",
        include(
            [
                path("", ingestion_views.ingestion, name="ingestion"),
                path("live", ingestion_views.progress, name="ingestion-live"),
                path("steer", ingestion_views.control_shards, name="ingestion-steer"),
                path(
                    "take-down", ingestion_views.take_down, name="ingestion-take-down"
                ),
                path("restore", ingestion_views.restore, name="ingestion-restore"),
                path("model", ingestion_views.change_model, name="ingestion-model"),
                path("seen", ingestion_views.dismiss, name="ingestion-seen"),
                path("reindex", ingestion_views.reindex, name="ingestion-reindex"),
                path(
                    "rejects/<int:reject>.webp",
                    ingestion_views.reject_image,
                    name="ingestion-reject",
                ),
                path("rejects.csv", ingestion_views.rejects, name="ingestion-rejects"),
            ]
        ),
    ),
]
