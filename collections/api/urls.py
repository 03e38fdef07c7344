"""Routes of the API for the data of a user."""

from django.urls import URLPattern, path

from . import (
    collection_views,
    concept_views,
    export_views,
    item_views,
    search_views,
)

collections = [
    path(
        "collections/",
        collection_views.CollectionList.as_view(),
        name="api-collections",
    ),
    path(
        "collections/shared/<slug:token>/",
        collection_views.SharedCollection.as_view(),
        name="api-collection-shared",
    ),
    path(
        "collections/shared/<slug:token>/items/",
        item_views.SharedItems.as_view(),
        name="api-collection-shared-items",
    ),
    path(
        "collections/<uuid:collection_id>/",
        collection_views.CollectionDetail.as_view(),
        name="api-collection",
    ),
    path(
        "collections/<uuid:collection_id>/items/",
        item_views.Items.as_view(),
        name="api-collection-items",
    ),
    path(
        "collections/<uuid:collection_id>/items/remove/",
        item_views.ItemsRemove.as_view(),
        name="api-collection-items-remove",
    ),
    path(
        "collections/<uuid:collection_id>/items/<slug:dataset>/<int:item_id>/",
        item_views.ItemDetail.as_view(),
        name="api-collection-item",
    ),
]
searches = [
    path("searches/", search_views.Searches.as_view(), name="api-searches"),
    path(
        "searches/<uuid:key>/",
        search_views.SearchDetail.as_view(),
        name="api-saved-search",
    ),
    path(
        "searches/<uuid:key>/results/",
        search_views.SearchResults.as_view(),
        name="api-saved-search-results",
    ),
]
concepts = [
    path("concepts/", concept_views.ConceptList.as_view(), name="api-concepts"),
    path(
        "concepts/shared/<slug:token>/",
        concept_views.SharedConcept.as_view(),
        name="api-concept-shared",
    ),
    path(
        "concepts/<uuid:concept_id>/",
        concept_views.ConceptDetail.as_view(),
        name="api-concept",
    ),
    path(
        "concepts/<uuid:concept_id>/versions/",
        concept_views.Versions.as_view(),
        name="api-concept-versions",
    ),
]
of_exports = [
    path("exports/", export_views.Exports.as_view(), name="api-exports"),
    path(
        "exports/<uuid:export_id>/",
        export_views.ExportDetail.as_view(),
        name="api-export",
    ),
    path(
        "exports/<uuid:export_id>/cancel/",
        export_views.CancelExport.as_view(),
        name="api-export-cancel",
    ),
    path(
        "exports/<uuid:export_id>/files/<str:name>",
        export_views.ExportFile.as_view(),
        name="api-export-file",
    ),
]
urlpatterns: list[URLPattern] = [*collections, *searches, *concepts, *of_exports]
